"""Joint training of two languages through ESPnet's command, and each of them as an experiment of its own."""

import shutil
from pathlib import Path

import pytest
import torch

from espnet_s3router.cli.main import main
from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.bake import load_experiment, outputs
from espnet_s3router.plugin.deployment.route import speech_like, write_experiment
from espnet_s3router.plugin.deployment.route_model import load_model
from espnet_s3router.plugin.training.language_batches import language_of_batch
from espnet_s3router.plugin.training.task import S3RouterASRTask

CONF = {"method": "pathways", "sparsity": 0.2, "languages": ["en", "es"]}
FOLDED = {"batch_type": "folded", "batch_size": 2, "fold_length": [80000]}
LANGUAGE_OF = {f"utt{index}": ("en", "es")[index % 2] for index in range(8)}


@pytest.fixture
def joint(experiment, corpus, tmp_path):
    """write(table, **changes) -> command line of a joint run; ``table``: the languages of utterances, None for no file."""

    def write(table=None, **changes):
        data = tmp_path / "data"
        if not data.exists():
            shutil.copytree(corpus, data)
        if table is not None:
            (data / "utt2category").write_text("".join(f"{key} {value}\n" for key, value in table.items()))
        command = experiment(**{"mask_conf": CONF, "max_epoch": 2, **FOLDED} | changes)
        path = Path(command[1])
        path.write_text(path.read_text("utf-8").replace(str(corpus), str(data)), encoding="utf-8")
        return command

    return write


def scores(state, language):
    return {key: tensor for key, tensor in state.items() if key.endswith(f".by_language.{language}")}


@pytest.mark.parametrize("heads", ["shared", "own"])
def test_two_languages_and_their_routes(joint, tmp_path, states, capsys, heads):
    """Both learn, each from its own batches. Their experiments and routes give the outputs of the joint model."""
    S3RouterASRTask.main(cmd=joint(LANGUAGE_OF, mask_conf=CONF | {"heads": heads}))
    exp = tmp_path / "exp"
    first, last = states("1epoch.pth"), states("2epoch.pth")
    layers = [key for key in last if key.startswith("ctc.ctc_lo.") and key.endswith("weight")]
    assert len(layers) == (2 if heads == "own" else 1)
    assert all(not torch.equal(last[key], first[key]) for key in layers)
    assert len(scores(last, "en")) == len(scores(last, "es")) == 4 and not any(key.endswith(".scores") for key in last)
    for language in ("en", "es"):
        assert all(not torch.equal(tensor, first[key]) for key, tensor in scores(last, language).items())
    pairs = zip(scores(last, "en").values(), scores(last, "es").values(), strict=True)
    assert all(not torch.equal(en, es) for en, es in pairs)
    config, file, wave = exp / "config.yaml", exp / "2epoch.pth", speech_like(0.6)
    model, _ = load_experiment(config, file, "asr")
    found = {}
    for language in ("en", "es"):
        model.frontend.attached.use(language)
        found[language] = outputs(model, wave)
        out = tmp_path / language
        assert main(["language", str(config), str(file), language, str(out)]) == 0
        assert "an experiment of method routing" in capsys.readouterr().out
        plain, args = load_experiment(out / "config.yaml", out / "2epoch.pth", "asr")
        assert args.frontend_conf["mask_conf"] == {"method": "routing", "sparsity": 0.2}
        assert torch.equal(outputs(plain, wave), found[language])
        write_experiment(out / "config.yaml", out / "2epoch.pth", tmp_path / f"{language}.route")
        assert torch.equal(outputs(load_model(tmp_path / f"{language}.route"), wave), found[language])
    assert not torch.equal(found["en"], found["es"])
    averaged = states("valid.loss.ave_2best.pth")
    assert all((tensor >= 0).all() for language in ("en", "es") for tensor in scores(averaged, language).values())


def test_own_heads_need_a_ctc_model(joint):
    with pytest.raises(InputError, match="heads: own needs a CTC model, got ctc_weight 0.5"):
        S3RouterASRTask.main(cmd=joint(LANGUAGE_OF, mask_conf=CONF | {"heads": "own"}, model_conf={"ctc_weight": 0.5}))


def test_languages_that_are_written(joint, untrained, tmp_path, capsys):
    """Files of another method, an unknown language and a folder that is there."""
    other = untrained(out=tmp_path / "other", mask_conf={"method": "routing", "sparsity": 0.2})
    made = untrained(out=tmp_path / "joint", mask_conf=CONF)
    for folder, language, out, message in (
        (other, "en", "a", "method is 'routing', expected pathways"),
        (made, "ru", "a", "the language is 'ru', expected one of en, es"),
        (made, "en", "joint", "exists already"),
        (tmp_path / "absent", "en", "a", "there is no such file"),
    ):
        words = [str(folder / "config.yaml"), str(folder / "1epoch.pth"), language, str(tmp_path / out)]
        assert main(["language", *words]) == 1 and message in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (None, {}, r"there is no .*utt2category\. Method pathways needs"),
        ({**LANGUAGE_OF, "utt3": "ru"}, {}, "the language of utt3 is 'ru', expected one of en, es"),
        ({"utt0": "en", "utt1": "es"}, {}, "names no language for 6 utterances, for example utt2"),
        (LANGUAGE_OF, {"batch_type": "unsorted"}, "batch_type is 'unsorted', with which batches mix languages"),
        (LANGUAGE_OF, {"valid_batch_type": "sorted"}, "valid_batch_type is 'sorted'"),
    ],
    ids=["no table", "unknown language", "utterances without language", "batches", "batches of validation"],
)
def test_bad_input_before_training(table, changes, message, joint, tmp_path):
    with pytest.raises(InputError, match=message):
        S3RouterASRTask.main(cmd=joint(table, **changes))
    assert not list(tmp_path.glob("exp/*.pth"))


def test_a_batch_of_one_language():
    assert language_of_batch(["utt0", "utt2"], LANGUAGE_OF) == "en"
    with pytest.raises(InputError, match="a batch mixes languages: utt0 is en, utt1 is es"):
        language_of_batch(["utt0", "utt2", "utt1"], LANGUAGE_OF)
    with pytest.raises(InputError, match="names no language for utt9"):
        language_of_batch(["utt0", "utt9"], LANGUAGE_OF)
