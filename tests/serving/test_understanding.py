"""Several tasks on one base: routes of languages and of intents in one bank."""

import json
import shutil

import pytest
import torch

from espnet_s3router.cli.main import main
from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment import route
from espnet_s3router.plugin.deployment.route import speech_like
from espnet_s3router.results.understanding.entities import Entity
from espnet_s3router.serving import Bank, Router
from espnet_s3router.serving.understanding import understand
from tests.plugin.conftest import write_trained_like

MASKS = {"mask_conf": {"method": "routing", "sparsity": 0.2}}
BEST_PATH = {"ctc_best_path": True}


@pytest.fixture(scope="session")
def intents(write_experiment, tmp_path_factory):
    """A folder with two routes: intents by pooling, and intents with transcripts. Read it only."""
    folder = tmp_path_factory.mktemp("intents")
    (folder / "words.txt").write_text("<blank>\n<unk>\nVM\nCONF\nSEP\nFILL\nten\n<sos/eos>\n")
    about = {"token_list": str(folder / "words.txt"), "token_type": "word", **MASKS}
    for name, changes in {"services": {"encoder": "mean_pooling"}, "requests": {}}.items():
        files = write_trained_like(write_experiment, folder, name, len(name), **about, **changes)
        route.write_experiment(*files, folder / f"{name}.route", decoding=BEST_PATH | {"intents": True})
    return folder


@pytest.fixture
def several(bank, intents):
    """The folder of ``bank`` with the routes of ``intents``."""
    for path in intents.glob("*.route"):
        shutil.copy(path, bank)
    return bank


def outputs(router, names, waves):
    """Bytes of all outputs of routes, and their transcripts."""
    found = {}
    for name in names:
        for number, wave in enumerate(waves):
            found[name, number] = router.log_probs(name, wave).numpy().tobytes(), router.transcribe(wave, name).text
    return found


def test_a_further_task_changes_no_bit_of_the_others(several):
    """Before intents are in the bank, between their uses, and after them."""
    waves = [speech_like(1.3), speech_like(2.2, pitch=210.0)]
    bank = Bank()
    for name in ("nl", "es"):
        bank.add(several / f"{name}.route")
    router = Router(bank)
    before = outputs(router, ("nl", "es"), waves)
    assert before["nl", 0] != before["es", 0]
    bank.restore()
    plain = {name: tensor.clone() for name, tensor in bank.frontend.expert.state_dict().items()}
    for name in ("services", "requests"):
        bank.add(several / f"{name}.route")
        intents = outputs(router, (name,), waves)
        assert outputs(router, ("nl", "es"), waves) == before
        assert outputs(router, (name,), waves) == intents
        understand(router, waves[0], name)
        assert outputs(router, ("es", "nl"), waves) == before
    bank.restore()
    assert all(torch.equal(plain[name], tensor) for name, tensor in bank.frontend.expert.state_dict().items())


def test_intents_by_pooling(several):
    """The most probable token of the mean, by hand."""
    router = Router.from_dir(several)
    wave = speech_like(1.7)
    log_probs = router.log_probs("services", wave)
    assert log_probs.shape == (1, 8)
    found, best = understand(router, wave, "services"), int(log_probs.argmax())
    if best:  # 0 is the blank
        assert found.intent == router.bank.tokens("services")[best]
        assert found.probability == pytest.approx(float(log_probs.max().exp()))
    else:
        assert (found.intent, found.probability) == ("", None)


def test_a_long_recording_has_one_intent(several):
    """Its vector is the mean over the frames of equal pieces, here three of at most two seconds."""
    router = Router(Bank.from_dir(several), window_s=2.0, overlap_s=0.5)
    long = torch.cat([speech_like(2.0, pitch) for pitch in (90.0, 150.0)] + [speech_like(1.4, 220.0)])
    with router.bank.using("services") as model, torch.no_grad():
        pieces = [model.frontend(piece[None], torch.tensor([len(piece)]))[0][0] for piece in long.view(3, -1)]
        vector = model.encoder.projector(torch.cat(pieces)).mean(dim=0)
        expected = model.ctc.log_softmax(vector[None, None])[0]
    assert torch.allclose(router.log_probs("services", long), expected, atol=1e-5)
    words = router.transcribe(long, "services").words
    assert len(words) <= 1 and all((word.start, word.end) == (0.0, 5.4) for word in words)
    assert understand(router, long, "services").transcript == ""


def test_entities_and_transcript(several, monkeypatch):
    from espnet_s3router.serving.transcript import Word

    router = Router.from_dir(several)
    words = [Word(text, 0.0, 0.1, 0.5) for text in ["VM", "SEP", "time", "FILL", "ten", "SEP", "wake", "me"]]
    monkeypatch.setattr(router, "_words", lambda name, wave: (words, []))
    found = understand(router, speech_like(1.0), "requests")
    assert (found.intent, found.probability, found.transcript) == ("VM", 0.5, "wake me")
    assert found.entities == [Entity("time", "ten")]


def test_the_command(several, tmp_path, capsys):
    audio = [str(tmp_path / f"{number}.wav") for number in (0, 1)]
    assert main(["understand", "--bank", str(several), "--task", "services", "--json", *audio]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    router = Router.from_dir(several)
    expected = [understand(router, path, "services") for path in audio]
    assert [(line["file"], line["intent"]) for line in lines] == [(p, one.intent) for p, one in zip(audio, expected)]
    assert all(line["task"] == "services" and line["entities"] == [] for line in lines)
    assert main(["understand", "--bank", str(several), "--task", "services", audio[0]]) == 0
    assert capsys.readouterr().out.split("\t")[0].strip() == audio[0]


def test_tasks_and_files_that_do_not_fit(several, tmp_path, capsys):
    words = ["understand", "--bank", str(several), "--task"]
    audio = str(tmp_path / "0.wav")
    for task, message in (("nl", "route nl transcribes"), ("sevices", "there is no route 'sevices'")):
        assert main([*words, task, audio]) == 1 and message in capsys.readouterr().err
    assert main([*words, "services", "absent.wav"]) == 1 and "no file absent.wav" in capsys.readouterr().err
    (bad := tmp_path / "bad.wav").write_bytes(b"none")
    assert main([*words, "services", "--json", str(bad), audio]) == 1
    printed = capsys.readouterr()
    assert "error" in json.loads(printed.out.splitlines()[0]) and "The others are understood" in printed.err


def test_the_language_is_found_among_languages(several):
    """Routes that give intents do not take part."""
    assert Router.from_dir(several).identify(speech_like(1.5)).name in ("nl", "es")
    bank = Bank()
    bank.add(several / "services.route")
    with pytest.raises(InputError, match="auto can choose no route: services gives intents. Name one of them"):
        Router(bank).identify(speech_like(1.5))
