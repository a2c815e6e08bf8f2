"""A run that is killed goes on to the same result, and one that is another run is refused."""

import shutil
import sys

import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import grid as experiments
from espnet_s3router.experiments import run as point
from espnet_s3router.experiments.progress import read_progress
from espnet_s3router.results.scored_runs import collect_runs

NAME = "asr_routing_s0.1_seed0"
ARGS = "max_epoch=4 num_iters_per_epoch=20"
EPOCHS, KILLED_AFTER = 4, 2
UPDATES = 80

pytestmark = pytest.mark.filterwarnings("ignore")  # ESPnet and s3prl, in this process


def command(prepared, expdir):
    options = prepared.options(expdir, asr_args=ARGS, parallel=1)
    return (sys.executable, "-m", "espnet_s3router.experiments.grid", *options)


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory):
    """The finished experiments folder of a run that nobody disturbed."""
    expdir = tmp_path_factory.mktemp("whole")
    prepared.recipes.run(*command(prepared, expdir))
    return expdir


@pytest.fixture(scope="module")
def killed(prepared, tmp_path_factory):
    """The folder of the same run, whose stage is killed in its third epoch."""
    expdir = tmp_path_factory.mktemp("killed")
    progress = expdir / NAME / "progress.tsv"
    prepared.recipes.kill_when(
        lambda: read_progress(progress).epoch >= KILLED_AFTER, expdir / NAME, *command(prepared, expdir)
    )
    return expdir


def point_options(prepared, expdir):
    """What the child of a point gets."""
    return point.build_parser().parse_known_args(prepared.options(expdir))[0]


def content(folder):
    """Path -> (bytes, time of the last change) of every file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def results(expdir):
    (found,) = collect_runs(expdir)
    unsteady = ("train_seconds", "commit")
    return {key: value for key, value in found.info.items() if key not in unsteady}, found.counts


def test_nothing_half_written_counts_as_finished(prepared, killed):
    import torch

    folder = killed / NAME
    assert read_progress(folder / "progress.tsv").epoch < EPOCHS
    assert not any((folder / name).exists() for name in (".trained", "point.json", "valid.cer_ctc.ave.pth"))
    for path in folder.glob("*.pth"):
        torch.load(path, weights_only=False)  # ESPnet's reporter puts numpy scalars into checkpoint.pth
    args = point_options(prepared, killed)
    assert not experiments.finished(folder, args)
    with pytest.raises(InputError, match="not trained to the end"):
        point.decode(folder, args)


def test_a_changed_configuration_is_refused(prepared, killed, capsys):
    """By the grid, which finds another train.yaml, and by the training command itself."""
    from espnet_s3router.bin.asr_train import main

    before = content(killed)
    changed = prepared.options(killed, asr_args=f"{ARGS} grad_clip=1.0")
    assert experiments.main(changed) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and "another configuration" in told and "--asr_tag" in told
    folder = killed / NAME
    command = point.train_options(folder, point_options(prepared, killed))
    with pytest.raises(InputError, match=r"grad_clip was 5\.0, is 1\.0 now"):
        main([*command, "--grad_clip", "1.0"])
    assert content(killed) == before


def test_resumed_and_uninterrupted_are_equal(prepared, killed, uninterrupted, tmp_path):
    import torch

    expdir = tmp_path / "resumed"
    shutil.copytree(killed, expdir)
    prepared.recipes.run(*command(prepared, expdir))
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


def test_a_finished_point_is_not_run_again(prepared, uninterrupted, capsys):
    before = content(uninterrupted)
    assert experiments.main(prepared.options(uninterrupted, asr_args=ARGS, parallel=1)) == 0
    assert "1 of 1 points finished before" in capsys.readouterr().out
    assert experiments.main(prepared.options(uninterrupted, asr_args=f"{ARGS} grad_clip=1.0")) == 1
    assert "another configuration" in capsys.readouterr().err
    assert content(uninterrupted) == before


def test_other_data_under_the_same_name_is_refused(prepared, killed, uninterrupted, tmp_path, capsys):
    """Before anything is trained or decoded: the interrupted run, the finished one, and their statistics."""
    for expdir in (killed, uninterrupted):
        before = content(expdir)
        for changed in ({"train_set": "mine"}, {"valid_set": "mine"}):
            options = prepared.options(expdir, asr_args=ARGS, stage=11, **changed)
            assert experiments.main(options) == 1
            told = capsys.readouterr().err
            assert (
                told.startswith(f"error: {expdir / NAME} was trained with --{next(iter(changed))}")
                and "now it is mine" in told
            )
        assert content(expdir) == before
    assert experiments.main(prepared.options(uninterrupted, asr_args=ARGS, stage=10, train_set="mine")) == 1
    assert "holds statistics of" in capsys.readouterr().err


def test_a_finished_run_keeps_no_state_of_its_optimiser(uninterrupted):
    assert not list((uninterrupted / NAME).glob("checkpoint*.pth")) and (uninterrupted / NAME / "latest.pth").exists()


def test_other_decoding_options_decode_again(prepared, uninterrupted, tmp_path):
    """What one inference tag holds was decoded in one way; training is not repeated."""
    expdir = tmp_path / "again"
    shutil.copytree(uninterrupted, expdir, symlinks=True)
    trained = (expdir / NAME / ".trained").stat().st_mtime_ns
    (scored,) = (expdir / NAME).glob("*/test/counts.json")
    scored.write_text("{}", encoding="utf-8")  # what is left of the other way would be believed
    point_of = point_options(prepared, expdir)
    assert experiments.finished(expdir / NAME, point_of)
    point_of.inference_args = ["--ctc_best_path", "false", "--beam_size", "2"]
    assert not experiments.finished(expdir / NAME, point_of)
    options = prepared.options(expdir, asr_args=ARGS, parallel=1)
    options += [
        "--inference_args=--ctc_best_path",
        "--inference_args=false",
        "--inference_args=--beam_size",
        "--inference_args=2",
    ]
    prepared.recipes.run(sys.executable, "-m", "espnet_s3router.experiments.grid", *options)
    assert scored.read_text("utf-8") != "{}"
    assert (expdir / NAME / ".trained").stat().st_mtime_ns == trained
