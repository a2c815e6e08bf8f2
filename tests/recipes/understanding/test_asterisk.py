"""asterisk/slu1 on data directories of a user, whose texts begin with an intent: the intent by pooling."""

import dataclasses

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process

PROMPTS = {"VM": "you have mail", "CONF": "you are alone", "DIR": "say a name"}
OWN_DATA = ("--local_data", "", "--train_set", "mine", "--valid_set", "mydev", "--test_sets", "mydev mytest")


def write_data(here):
    """``data/{mine,mydev,mytest}``: each prompt is a tone of its own. One intent of mytest is not in training."""
    rng = np.random.default_rng(0)
    for name, count in (("mine", 9), ("mydev", 3), ("mytest", 4)):
        folder = here / "data" / name
        (folder / "wav").mkdir(parents=True)
        keys = [f"{name}-{number}" for number in range(count)]
        intents = [*PROMPTS][:count] * 3
        texts = {key: f"{intent} {PROMPTS[intent]}" for key, intent in zip(keys, intents)}
        if name == "mytest":
            texts[keys[3]] = "OTHER hello"
        for number, key in enumerate(keys):
            times = np.arange(16000) / 16000
            wave = 0.3 * np.sin(2 * np.pi * 200 * (1 + number % 3) * times) + 0.01 * rng.standard_normal(16000)
            soundfile.write(folder / "wav" / f"{key}.wav", wave, 16000, subtype="PCM_16")
        tables = {"wav.scp": {key: folder / "wav" / f"{key}.wav" for key in keys}, "text": texts}
        for file, table in (tables | {"utt2spk": dict.fromkeys(keys, name)}).items():
            (folder / file).write_text("".join(f"{key} {value}\n" for key, value in table.items()), encoding="utf-8")


def test_the_intent_by_pooling(finished):
    run = finished("asterisk/slu1", *OWN_DATA, prepare=write_data)
    assert "has 1 utterances with intents outside training, which count as wrong: OTHER" in run.told
    tokens = (run.here / "data/families_token_list/word_intent/tokens.txt").read_text().split()
    assert sorted(tokens[2:-1]) == ["CONF", "DIR", "VM"]
    assert run.references("mytest", "dump/intent")["mytest-3"] == "OTHER"
    rows = run.rows()
    assert {metric for name, metric in rows if metric in ("accuracy", "cer", "wer", "macro_f1")} == {"accuracy", "macro_f1"}
    assert rows["mytest", "accuracy"] == pytest.approx(run.accuracy("mytest", "dump/intent"))
    assert rows["mytest", "accuracy"] <= 75  # the fourth intent is unknown
    assert all(len(text.split()) <= 1 for text in run.decoded("mytest").values())
    assert "ACCURACY test %" in run.printed and "macro f1 mytest" in run.printed
    answers_from_its_route(run)


def answers_from_its_route(run):
    """Stage 17, then ``s3router understand`` on the test set: the intents that stage 12 decoded."""
    from espnet_s3router.experiments.options import Options
    from espnet_s3router.experiments.single.deployment import deploy
    from espnet_s3router.serving import Router
    from espnet_s3router.serving.understanding import understand

    (point,) = run.exp.glob("*/point.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.here)
        options = Options.read(run.options)
        deploy(point.parent, dataclasses.replace(options, route_language="services").for_deployment())
        router = Router.from_dir(point.parent)
        wav = dict(line.split() for line in (run.here / "dump/intent/raw/mytest/wav.scp").read_text().splitlines())
        for utt, text in run.decoded("mytest").items():
            assert understand(router, wav[utt], "services").intent == text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "slots"), ["no conf/target/slots.yaml", "intent.yaml"]),
        (("--task", "asr"), ["--intent_alone is true with --task asr"]),
        (("--task", "nlu"), ["--task is 'nlu', expected one of asr, slu"]),
        (("--espnet_task", "st"), ["--espnet_task is 'st', expected one of asr, slu"]),
        (("--token_type", "phn"), ["--token_type is phn with --task slu"]),
        (("--cleaner", "tacotron"), ["--cleaner is tacotron with --intent_alone"]),
    ],
)
def test_options_that_do_not_fit(recipes, options, words):
    recipes.recipe = "asterisk/slu1"
    done = recipes.run("./run.sh", *options, check=False)
    assert done.returncode == 2 and all(word in done.stderr for word in words), done.stderr
