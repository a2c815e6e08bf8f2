"""When a run is another run, and how markers show that data changed."""

import dataclasses
import json
import shlex
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import grid, layout, statistics
from espnet_s3router.experiments.grid import finished, folder_of, specs_of
from espnet_s3router.experiments.single.decoding import decode_options, decoding_marker, score
from espnet_s3router.experiments.single.deployment import route_file
from espnet_s3router.experiments.single.run import data_options, train_options
from espnet_s3router.experiments.statistics import collected

CONFIG = {
    "frontend": "masked_upstream",
    "frontend_conf": {"frontend_conf": {"upstream": "mini"}, "mask_conf": {"method": "routing", "sparsity": 0.1}},
    "best_model_criterion": [["valid", "cer_ctc", "min"], ["valid", "loss", "min"]],
}
TOKENS = ["<blank>", "<unk>", "a", "b", "<sos/eos>"]


@pytest.fixture
def one_run(tmp_path, options, monkeypatch):
    """one_run(*words) -> the options of a grid of one run, beside its datasets t and v, a test set e, and tokens."""
    monkeypatch.chdir(tmp_path)
    for folder in ("t", "v", "whole/v", "e"):
        (tmp_path / "dump/raw" / folder).mkdir(parents=True)
        (tmp_path / "dump/raw" / folder / "text").write_text("u1 a b\nu2 b\n")
        (tmp_path / "dump/raw" / folder / "utt2num_samples").write_text("u1 16000\nu2 8000\n")
    (tmp_path / "c").write_text(yaml.safe_dump(CONFIG))
    made = options("--test_sets", "v e")
    (tmp_path / made.token_list).parent.mkdir(parents=True)
    (tmp_path / made.token_list).write_text("".join(f"{token}\n" for token in TOKENS))
    return lambda *words: options("--test_sets", "v e", *words)


def train(options):
    """The folder of the run, as training leaves it."""
    (spec,) = specs_of(options)
    folder = folder_of(spec, options)
    kinds = {"train": options.training_set, "valid": options.valid_set}
    config = {f"{part}_data_path_and_name_and_type": [[f"dump/{name}/text", "text", "text"]] for part, name in kinds.items()}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"token_list": TOKENS}))
    (folder / ".trained").touch()
    return folder


def test_characters_without_start_weights_leave_the_configuration_as_it_is(one_run):
    """Results are kept by its hash."""
    (spec,) = specs_of(one_run())
    assert spec.config == CONFIG | {"seed": 0} | {"frontend_conf": {**CONFIG["frontend_conf"], "mask_conf": spec.mask_conf}}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["--token_type", "bpe", "--nbpe", "10"],
            {"token_type": "bpe", "bpemodel": "data/noinfo_token_list/bpe_unigram10/bpe.model"},
        ),
        (["--token_type", "phn"], {"token_type": "word", "bpemodel": None}),
        (["--pretrained_model", "c:encoder:encoder"], {"init_param": ["c:encoder:encoder"]}),
    ],
)
def test_tokens_and_start_weights_make_another_run(one_run, words, expected):
    plain, (other,) = specs_of(one_run())[0], specs_of(one_run(*words))
    assert expected.items() <= other.config.items() and other.variant != plain.variant
    train(one_run())
    with pytest.raises(InputError, match="holds another configuration.*--asr_tag"):
        folder_of(other, one_run(*words))


def test_pieces_of_another_model_make_another_run(one_run):
    variants = {specs_of(one_run("--token_type", "bpe", "--nbpe", str(n)))[0].variant for n in (10, 30)}
    assert len(variants) == 2


@pytest.mark.parametrize(
    ("token_type", "folder", "for_espnet", "filtered_by", "metrics"),
    [
        ("char", "char", "char", "char", ("cer", "wer")),
        ("bpe", "bpe_unigram30", "bpe", "char", ("cer", "wer")),
        ("word", "word", "word", "word", ("cer", "wer")),
        ("phn", "phn", "word", "word", ("per",)),
    ],
)
def test_token_types(one_run, token_type, folder, for_espnet, filtered_by, metrics):
    options = one_run("--token_type", token_type)
    options.check()
    assert options.token_list == f"data/noinfo_token_list/{folder}/tokens.txt"
    assert bool(options.bpe_model) == (token_type == "bpe")
    assert options.metrics == metrics
    made = options.for_bash()
    assert (made["token_type"], made["filter_token_type"]) == (for_espnet, filtered_by)
    Path(made["options_file"]).unlink()
    assert data_options(options)[2:4] == ["--token_type", for_espnet]
    assert f"text_shape.{for_espnet}" in " ".join(train_options(Path("exp/a"), options))


def test_start_weights_that_are_not_there(one_run):
    with pytest.raises(InputError, match="--pretrained_model is 'absent.pth:a:b', and there is no such file"):
        one_run("--pretrained_model", "absent.pth:a:b").check()


@pytest.mark.parametrize("marker", [".trained", "checkpoint.pth"])
def test_a_token_list_that_changed(one_run, tmp_path, marker):
    folder = train(options := one_run())
    (folder / ".trained").rename(folder / marker)
    (spec,) = specs_of(options)
    assert folder_of(spec, options) == folder
    (tmp_path / options.token_list).write_text("".join(f"{token}\n" for token in [*TOKENS[:2], "b", "a", TOKENS[-1]]))
    with pytest.raises(
        InputError, match="trained with other tokens .5. than .*tokens.txt holds .5., or in another order.*Remove"
    ):
        folder_of(spec, options)


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
def test_a_model_that_training_will_not_leave(one_run, model, kept):
    words = ("--inference_asr_model", model)
    if kept:
        assert specs_of(one_run(*words))
        return
    with pytest.raises(InputError, match="keeps models by valid.cer_ctc, valid.loss. Choose one"):
        specs_of(one_run(*words))
    assert specs_of(one_run(*words, "--stage", "12")) and specs_of(one_run(*words, "--stop_stage", "11"))


@pytest.mark.parametrize(("folder", "file"), [("t", "text"), ("t", "utt2num_samples"), ("v", "text")])
def test_statistics_of_data_that_changed(one_run, tmp_path, monkeypatch, folder, file):
    """At stage 10, and where training begins without it."""
    options = one_run("--asr_stats_dir", "s", "--stage", "10")
    monkeypatch.setattr(statistics, "run_here", lambda *_, **__: make_shapes(tmp_path / "s"))
    assert not collected(options)
    statistics.collect_stats(options, specs_of(options))
    assert collected(options)
    assert (tmp_path / "s/train/text_shape.char").read_text() == "u1 3,5\n"
    (tmp_path / "dump/raw" / folder / file).write_text("u1 b\n")
    with pytest.raises(InputError, match=f"the data of {folder} changed since.*differ from the runs in exp. Remove both"):
        collected(options)
    monkeypatch.setattr(grid, "run_unfinished", lambda *_: pytest.fail("it trains"))
    dataclasses.replace(options, stage=11).write("options.yaml")
    assert grid.main(["--options", "options.yaml"]) == 1


def test_two_at_a_time_collect_once(one_run, tmp_path, monkeypatch):
    """As two grids of a recipe that begin together."""
    options, runs = one_run("--asr_stats_dir", "s", "--stage", "10"), []

    def slow(*_, **__):
        runs.append(1)
        time.sleep(0.2)
        make_shapes(tmp_path / "s")

    monkeypatch.setattr(statistics, "run_here", slow)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(statistics.collect_stats, options, specs_of(options)) for _ in range(2)]:
            done.result()
    assert runs == [1]


def make_shapes(stats):
    for part in ("train", "valid"):
        (stats / part).mkdir(parents=True)
        (stats / part / "text_shape").write_text("u1 3\n")


def decode_and_score(folder, options):
    """Stage 12 with a made-up text, and stage 13."""
    for name in options.test_sets:
        target = folder / options.decoding_tag / name
        target.mkdir(parents=True, exist_ok=True)
        (target / "text").write_text("u1 a\nu2 b\n")
        (target / layout.DECODED).write_text(decoding_marker(options, name))
    score(folder, options)


def test_a_test_set_that_changed_is_decoded_again(one_run, tmp_path):
    folder = train(options := one_run())
    decode_and_score(folder, options)
    assert finished(folder, options)
    (tmp_path / "dump/raw/e/utt2num_samples").write_text("u1 16000\nu2 8001\n")
    for stage in (11, 12, 13):
        assert not finished(folder, dataclasses.replace(options, stage=stage))
    with pytest.raises(InputError, match="is not decoded with these options"):
        score(folder, options)


def test_a_reference_that_changed_is_scored_again(one_run, tmp_path):
    folder = train(options := one_run())
    decode_and_score(folder, options)
    target = folder / options.decoding_tag / "e"
    (tmp_path / "dump/raw/e/text").write_text("u1 a\nu2 b\n")
    assert not finished(folder, options)
    assert not finished(folder, dataclasses.replace(options, stage=13))
    assert json.loads((target / "counts.json").read_text())["wer"]["u1"] == [1, 0, 1, 0]
    score(folder, options)
    assert json.loads((target / "counts.json").read_text())["wer"]["u1"] == [1, 0, 0, 0]
    assert finished(folder, options)
    assert json.loads((target / layout.SCORED).read_text()).keys() == {"text", "nlsyms"}


def test_the_validation_set_is_scored_whole(one_run, tmp_path):
    """Training leaves out what is long; a set that is measured on must not depend on that."""
    folder = train(options := one_run())
    (tmp_path / "dump/raw/v/text").write_text("u1 a b\n")
    decode_and_score(folder, options)
    counts = json.loads((folder / options.decoding_tag / "v/counts.json").read_text())
    assert set(counts["wer"]) == {"u1", "u2"}
    decodes = decode_options(tmp_path, tmp_path / "m.pth", "v", folder, options)
    assert decodes[decodes.index("--data_path_and_name_and_type") + 1] == "dump/raw/whole/v/wav.scp,speech,sound"
    shutil.rmtree(tmp_path / "dump/raw/whole")
    with pytest.raises(InputError, match="dump/raw/whole/v/utt2num_samples: cannot be read .*Run stages 3 and 4"):
        finished(folder, options)


def test_a_cleaner_makes_other_runs_and_other_tokens(one_run):
    """ESPnet gets it too, so the runs and their results differ from those without."""
    plain, cleaned = one_run(), one_run("--cleaner", "tacotron")
    (spec,), (other,) = specs_of(plain), specs_of(cleaned)
    assert other.config["cleaner"] == "tacotron" and "cleaner" not in spec.config and other.variant != spec.variant
    assert (plain.token_list, cleaned.token_list) == (
        "data/noinfo_token_list/char/tokens.txt",
        "data/noinfo_token_list/char_tacotron/tokens.txt",
    )
    assert plain.stats_dir != cleaned.stats_dir


def test_the_language_of_a_route_names_its_file(one_run, tmp_path):
    """Without one, the experiment does; a bank needs a language."""
    folder = tmp_path / "exp/asr_c"
    for words, name in (((), "asr_c"), (("--lang", "nl"), "nl"), (("--lang", "nl", "--route_language", "li"), "li")):
        assert route_file(folder, one_run("--stage", "17", "--stop_stage", "17", *words)) == folder / f"{name}.route"
    with pytest.raises(InputError, match="--routes_dir is bank, expected --route_language too"):
        one_run("--stage", "17", "--stop_stage", "17", "--routes_dir", "bank").check()


@pytest.mark.parametrize(
    ("words", "prunes"),
    [
        ("--stop_stage 16", True),
        ("--stop_stage 17", False),
        ("--stop_stage 17 --prune_methods omp", True),
        ("--stop_stage 13 --prune_methods omp", False),
        ("--stage 17 --stop_stage 17 --prune_methods omp", False),
    ],
)
def test_stage_16_on_the_way_to_17(one_run, words, prunes):
    """It runs where there is something to prune."""
    assert one_run(*words.split()).prunes is prunes


METHODS = """
head_only: {frontend_conf: {mask_conf: {method: head_only}}}
large: {frontend_conf: {frontend_conf: {upstream: wav2vec2_large_ll60k}}}
odd: {frontend_conf: {frontend_conf: {upstream: fbank}}}
"""


@pytest.mark.parametrize(
    ("words", "frames", "notice"),
    [
        ("--upstream hf_whisper_custom --methods head_only", "--hop 320 --receptive_field 1", ""),
        ("--upstream hf_whisper_custom --methods 'head_only large'", "--hop 320 --receptive_field 400", ""),
        ("--upstream hf_whisper_custom", "--hop 320 --receptive_field 1", ""),
        ("--methods odd", "--hop 320 --receptive_field 400", "the frames of fbank are unknown"),
    ],
)
def test_data_are_filtered_by_the_frames_of_the_upstreams(one_run, tmp_path, capsys, words, frames, notice):
    """Of several upstreams, the one with the fewest frames decides."""
    (tmp_path / "methods").write_text(METHODS)
    one_run("--methods_config", "methods", *shlex.split(words)).write("options")
    assert grid.main(["--options", "options", "--frames"]) == 0
    out, err = capsys.readouterr()
    assert (out, notice in err) == (f"{frames}\n", True)


def test_symbols_that_are_no_words(one_run, tmp_path):
    """They are tokens of their own in training, and are not scored."""
    (tmp_path / "symbols").write_text("b\n")
    folder = train(options := one_run())
    decode_and_score(folder, options)
    options = one_run("--nlsyms_txt", "symbols")
    assert not finished(folder, options)
    given = data_options(options)
    assert given[given.index("--non_linguistic_symbols") + 1] == "symbols"
    decode_and_score(folder, options)
    counts = json.loads((folder / options.decoding_tag / "v/counts.json").read_text())
    assert counts["wer"] == {"u1": [1, 0, 0, 0], "u2": [0, 0, 0, 0]}
