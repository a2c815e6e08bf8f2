"""What makes a point another point, and what markers tell of data that changed."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import grid as experiments
from espnet_s3router.experiments import run as point
from espnet_s3router.experiments.decoding import DONE, SCORED, asked, decode_options
from espnet_s3router.experiments.grid import collected, finished, folder_of, specs_of

CONFIG = {
    "frontend": "masked_upstream",
    "frontend_conf": {"frontend_conf": {"upstream": "mini"}, "mask_conf": {"method": "routing", "sparsity": 0.1}},
    "best_model_criterion": [["valid", "cer_ctc", "min"], ["valid", "loss", "min"]],
}
TOKENS = ["<blank>", "<unk>", "a", "b", "<sos/eos>"]


@pytest.fixture
def grid(tmp_path, options, monkeypatch):
    """grid(*words) -> the options of a grid of one point, where sets t and v, a test set e and tokens are."""
    monkeypatch.chdir(tmp_path)
    for folder in ("t", "v", "whole/v", "e"):
        (tmp_path / "dump" / folder).mkdir(parents=True)
        (tmp_path / "dump" / folder / "text").write_text("u1 a b\nu2 b\n")
        (tmp_path / "dump" / folder / "utt2num_samples").write_text("u1 16000\nu2 8000\n")
    (tmp_path / "c").write_text(yaml.safe_dump(CONFIG))
    (tmp_path / "l").write_text("".join(f"{token}\n" for token in TOKENS))
    return lambda *words: options("--dump", "dump", "--test_sets", "e", *words)


def train(args):
    """The folder of the one point, as training leaves it."""
    (spec,) = specs_of(args)
    folder = folder_of(spec, args)
    kinds = {"train": args.train_set, "valid": args.valid_set}
    config = {f"{part}_data_path_and_name_and_type": [[f"dump/{name}/text", "text", "text"]] for part, name in kinds.items()}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"token_list": TOKENS}))
    (folder / ".trained").touch()
    return folder


def test_characters_without_start_weights_leave_the_configuration_as_it_is(grid):
    """Results are kept by its hash."""
    (spec,) = specs_of(grid())
    assert spec.config == CONFIG | {"seed": 0} | {"frontend_conf": {**CONFIG["frontend_conf"], "mask_conf": spec.mask_conf}}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--token_type", "bpe", "--bpemodel", "bpe10/bpe.model"], {"token_type": "bpe", "bpemodel": "bpe10/bpe.model"}),
        (["--token_type", "word"], {"token_type": "word", "bpemodel": None}),
        (["--init_param", "c:encoder:encoder"], {"init_param": ["c:encoder:encoder"]}),
    ],
)
def test_tokens_and_start_weights_make_another_point(grid, words, told):
    plain, (other,) = specs_of(grid())[0], specs_of(grid(*words))
    assert told.items() <= other.config.items() and other.variant != plain.variant
    train(grid())
    with pytest.raises(InputError, match="holds another configuration.*--asr_tag"):
        folder_of(other, grid(*words))


def test_pieces_of_another_model_make_another_point(grid):
    variants = {specs_of(grid("--token_type", "bpe", "--bpemodel", f"bpe{n}/bpe.model"))[0].variant for n in (10, 30)}
    assert len(variants) == 2


def test_start_weights_that_are_not_there(grid):
    with pytest.raises(InputError, match="--pretrained_model is absent.pth:a:b, and there is no file absent.pth"):
        specs_of(grid("--init_param", "absent.pth:a:b"))


@pytest.mark.parametrize("marker", [".trained", "checkpoint.pth"])
def test_a_token_list_that_changed(grid, tmp_path, marker):
    folder = train(args := grid())
    (folder / ".trained").rename(folder / marker)
    (spec,) = specs_of(args)
    assert folder_of(spec, args) == folder
    (tmp_path / "l").write_text("".join(f"{token}\n" for token in [*TOKENS[:2], "b", "a", TOKENS[-1]]))
    with pytest.raises(InputError, match="trained with other tokens .5. than l holds .5., or in another order.*Remove"):
        folder_of(spec, args)


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("valid.cer_ctc.ave.pth", True),
        ("valid.loss.best.pth", True),
        ("valid.cer_ctc.ave_10best.pth", True),
        ("latest.pth", True),
        ("7epoch.pth", True),
        ("valid.acc.ave.pth", False),
        ("train.loss.ave_5best.pth", False),
    ],
)
def test_a_model_that_training_will_not_leave(grid, model, kept):
    words = ("--inference_asr_model", model)
    if kept:
        assert specs_of(grid(*words))
        return
    with pytest.raises(InputError, match="keeps models by valid.cer_ctc, valid.loss. Choose one"):
        specs_of(grid(*words))
    assert specs_of(grid(*words, "--stage", "12")) and specs_of(grid(*words, "--stop_stage", "11"))


@pytest.mark.parametrize(("folder", "file"), [("t", "text"), ("t", "utt2num_samples"), ("v", "text")])
def test_statistics_of_data_that_changed(grid, tmp_path, monkeypatch, folder, file):
    """At stage 10, and where training begins without it."""
    args = grid("--stats_dir", "s", "--stage", "10")
    monkeypatch.setattr(experiments, "run_module", lambda *_, **__: make_shapes(tmp_path / "s"))
    assert not collected(args)
    experiments.collect_stats(args, specs_of(args))
    assert collected(args)
    assert (tmp_path / "s/train/text_shape.char").read_text() == "u1 3,5\n"
    (tmp_path / "dump" / folder / file).write_text("u1 b\n")
    with pytest.raises(InputError, match=f"the data of {folder} changed since.*differ from what is in exp. Remove both"):
        collected(args)
    monkeypatch.setattr(experiments, "run_unfinished", lambda *_: pytest.fail("it trains"))
    words = [f"--{name}={getattr(args, name)}" for name in ("recipe", "train_set", "valid_set", "token_list", "dump")]
    assert experiments.main([*words, "--stage=11", "--stats_dir=s", "--test_sets=e", "--asr_config=c"]) == 1


def test_two_at_a_time_collect_once(grid, tmp_path, monkeypatch):
    """As two grids of a recipe that begin together."""
    args, runs = grid("--stats_dir", "s", "--stage", "10"), []

    def slow(*_, **__):
        runs.append(1)
        time.sleep(0.2)
        make_shapes(tmp_path / "s")

    monkeypatch.setattr(experiments, "run_module", slow)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(experiments.collect_stats, args, specs_of(args)) for _ in range(2)]:
            done.result()
    assert runs == [1]


def make_shapes(stats):
    for part in ("train", "valid"):
        (stats / part).mkdir(parents=True)
        (stats / part / "text_shape").write_text("u1 3\n")


def score(folder, args):
    """Stages 12 and 13 of a point, the first of them made up."""
    for name in args.test_sets:
        target = folder / args.inference_tag / name
        target.mkdir(parents=True, exist_ok=True)
        (target / "text").write_text("u1 a\nu2 b\n")
        (target / DONE).write_text(asked(args, name))
    point.score(folder, args)


def test_a_test_set_that_changed_is_decoded_again(grid, tmp_path):
    folder = train(args := grid())
    score(folder, args)
    assert finished(folder, args)
    (tmp_path / "dump/e/utt2num_samples").write_text("u1 16000\nu2 8001\n")
    for stage in (11, 12, 13):
        args.stage = stage
        assert not finished(folder, args)
    with pytest.raises(InputError, match="is not decoded with these options"):
        point.score(folder, args)


def test_a_reference_that_changed_is_scored_again(grid, tmp_path):
    folder = train(args := grid())
    score(folder, args)
    target = folder / args.inference_tag / "e"
    (tmp_path / "dump/e/text").write_text("u1 a\nu2 b\n")
    assert not finished(folder, args)
    args.stage = 13
    assert not finished(folder, args)
    assert json.loads((target / "counts.json").read_text())["wer"]["u1"] == [1, 0, 1, 0]
    point.score(folder, args)
    assert json.loads((target / "counts.json").read_text())["wer"]["u1"] == [1, 0, 0, 0]
    assert finished(folder, args)
    assert json.loads((target / SCORED).read_text()).keys() == {"text", "nlsyms"}


def test_the_validation_set_is_scored_whole(grid, tmp_path):
    """Training leaves out what is long; a set that is measured on must not depend on that."""
    folder = train(args := grid())
    (tmp_path / "dump/v/text").write_text("u1 a b\n")
    score(folder, args)
    counts = json.loads((folder / args.inference_tag / "v/counts.json").read_text())
    assert set(counts["wer"]) == {"u1", "u2"}
    decodes = decode_options(tmp_path, tmp_path / "m.pth", "v", folder, args)
    assert decodes[decodes.index("--data_path_and_name_and_type") + 1] == "dump/whole/v/wav.scp,speech,sound"
    shutil.rmtree(tmp_path / "dump/whole")
    with pytest.raises(InputError, match="dump/whole/v/utt2num_samples: cannot be read .*Run stages 3 and 4"):
        finished(folder, args)


def test_symbols_that_are_no_words(grid, tmp_path):
    """They are tokens of their own in training, and are not scored."""
    (tmp_path / "symbols").write_text("b\n")
    folder = train(args := grid())
    score(folder, args)
    args = grid("--nlsyms_txt", "symbols")
    assert not finished(folder, args)
    given = point.data_options(args)
    assert given[given.index("--non_linguistic_symbols") + 1] == "symbols"
    assert "nlsyms_txt" in experiments.POINT_OPTIONS
    score(folder, args)
    counts = json.loads((folder / args.inference_tag / "v/counts.json").read_text())
    assert counts["wer"] == {"u1": [1, 0, 0, 0], "u2": [0, 0, 0, 0]}
