"""A run that is killed resumes to the same result, and a folder of another run is refused."""

import shutil
import sys
from dataclasses import replace

import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import grid
from espnet_s3router.experiments.layout import read_progress
from espnet_s3router.experiments.single import run
from espnet_s3router.experiments.single.decoding import decode
from espnet_s3router.results.scored_runs import collect_runs
from tests.recipes.conftest import as_words, call

NAME = "asr_routing_s0.1_seed0"
ARGS = "max_epoch=4 num_iters_per_epoch=20"
EPOCHS, KILLED_AFTER = 4, 2
UPDATES = 80

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process


def options(recipes, expdir, **changes):
    return recipes.options(expdir, asr_args=ARGS, parallel=1, **changes)


@pytest.fixture(scope="module")
def uninterrupted(prepared_recipes, tmp_path_factory):
    """The experiments of a run that was not interrupted."""
    expdir = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(prepared_recipes.here)
        done = call(grid.main, as_words(options(prepared_recipes, expdir)))
    assert done.returncode == 0, done.stderr
    return expdir


@pytest.fixture(scope="module")
def killed(prepared_recipes, tmp_path_factory):
    """The experiments of the same run, whose stage is killed in its third epoch."""
    expdir = tmp_path_factory.mktemp("killed")
    progress = expdir / NAME / "progress.tsv"
    command = (sys.executable, "-m", grid.__name__, *as_words(options(prepared_recipes, expdir)))
    prepared_recipes.recipes.kill_when(lambda: read_progress(progress).epoch >= KILLED_AFTER, expdir / NAME, *command)
    return expdir


def content(folder):
    """Path -> (bytes, time of the last change) of every file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def results(expdir):
    (scored,) = collect_runs(expdir)
    unsteady = ("train_seconds", "commit")
    return {key: value for key, value in scored.info.items() if key not in unsteady}, scored.counts


def test_nothing_half_written_counts_as_finished(prepared, killed):
    import torch

    folder = killed / NAME
    assert read_progress(folder / "progress.tsv").epoch < EPOCHS
    assert not any((folder / name).exists() for name in (".trained", "point.json", "valid.cer_ctc.ave.pth"))
    for path in folder.glob("*.pth"):
        torch.load(path, weights_only=False)  # ESPnet's reporter puts numpy scalars into checkpoint.pth
    assert not grid.finished(folder, options(prepared, killed))
    with pytest.raises(InputError, match="not trained to the end"):
        decode(folder, options(prepared, killed))


def test_a_changed_configuration_is_refused(prepared, killed, capsys):
    """By the grid, which finds another train.yaml, and by the training command."""
    from espnet_s3router.bin.asr_train import main

    before = content(killed)
    assert grid.main(prepared.words(killed, asr_args=f"{ARGS} grad_clip=1.0")) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "another configuration" in message and "--asr_tag" in message
    folder = killed / NAME
    command = run.train_options(folder, options(prepared, killed))
    with pytest.raises(InputError, match=r"grad_clip was 5\.0, is 1\.0 now"):
        main([*command, "--grad_clip", "1.0"])
    assert content(killed) == before


def test_resumed_and_uninterrupted_are_equal(prepared, killed, uninterrupted, tmp_path):
    import torch

    expdir = tmp_path / "resumed"
    shutil.copytree(killed, expdir)
    assert grid.main(as_words(options(prepared, expdir))) == 0
    models = []
    for folder in (expdir / NAME, uninterrupted / NAME):
        models.append({path.name: torch.load(path, weights_only=True) for path in folder.glob("*.ave*.pth")})
    assert models[0].keys() == models[1].keys() and len(models[0]) >= 1
    for name, expected in models[1].items():
        assert models[0][name].keys() == expected.keys()
        assert all(torch.equal(models[0][name][key], tensor) for key, tensor in expected.items())
    last = [torch.load(path / NAME / "latest.pth", weights_only=True) for path in (expdir, uninterrupted)]
    assert last[0].keys() == last[1].keys() and all(torch.equal(last[0][key], last[1][key]) for key in last[1])
    assert results(expdir) == results(uninterrupted)
    assert results(expdir)[0]["updates"] == UPDATES


def test_a_finished_run_is_not_run_again(prepared, uninterrupted, capsys):
    before = content(uninterrupted)
    assert grid.main(as_words(options(prepared, uninterrupted))) == 0
    assert "1 of 1 runs finished before" in capsys.readouterr().out
    assert grid.main(prepared.words(uninterrupted, asr_args=f"{ARGS} grad_clip=1.0")) == 1
    assert "another configuration" in capsys.readouterr().err
    assert content(uninterrupted) == before


@pytest.mark.parametrize("state", ["killed", "uninterrupted"])
@pytest.mark.parametrize("changed", ["train_set", "valid_set"])
def test_other_data_under_the_same_name_is_refused(prepared, state, changed, request, capsys):
    """Before anything is trained or decoded."""
    expdir = request.getfixturevalue(state)
    before = content(expdir)
    sets = {"train_set": {"train_set": "mine"}, "valid_set": {"valid_set": "mine", "test_sets": "mine dev test"}}
    assert grid.main(as_words(options(prepared, expdir, **sets[changed]))) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"error: {expdir / NAME} was trained with --{changed}") and "now it is mine" in message
    assert content(expdir) == before


def test_statistics_of_other_data_are_refused(prepared, uninterrupted, capsys):
    assert grid.main(as_words(options(prepared, uninterrupted, stage=10, train_set="mine"))) == 1
    assert "holds statistics of" in capsys.readouterr().err


def test_a_finished_run_keeps_no_state_of_its_optimiser(uninterrupted):
    assert not list((uninterrupted / NAME).glob("checkpoint*.pth")) and (uninterrupted / NAME / "latest.pth").exists()


def test_other_decoding_options_decode_again(prepared, uninterrupted, tmp_path):
    """One inference tag holds text that was decoded in one way; training is not repeated."""
    expdir = tmp_path / "again"
    shutil.copytree(uninterrupted, expdir, symlinks=True)
    trained = (expdir / NAME / ".trained").stat().st_mtime_ns
    (scored,) = (expdir / NAME).glob("*/test/counts.json")
    scored.write_text("{}", encoding="utf-8")  # a score of the other way, if it stayed, would be trusted
    given = options(prepared, expdir)
    assert grid.finished(expdir / NAME, given)
    given = replace(given, inference_args=("--ctc_best_path", "false", "--beam_size", "2"))
    assert not grid.finished(expdir / NAME, given)
    assert grid.main(as_words(given)) == 0
    assert scored.read_text("utf-8") != "{}"
    assert (expdir / NAME / ".trained").stat().st_mtime_ns == trained
