"""What a run notes when it starts, and what happens when the models that it started from change."""

import hashlib
import json

import pytest
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.experiments.layout import PROVENANCE
from espnet_s3router.experiments.single import provenance
from espnet_s3router.experiments.single.provenance import (
    changed_origin,
    command_of,
    commit_of,
    note_start,
    refuse_changed_origin,
    without_folders,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A run that starts from one model, takes its first mask from another and learns from a third."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(provenance, "git_commit", lambda: "1a2b3c4")
    for name in ("dense", "other", "teacher"):
        (tmp_path / name).write_text(name)
    masks = {"method": "parp", "sparsity": 0.5, "start": "dense", "initial_mask": "other"}
    (tmp_path / "run").mkdir()
    config = {"frontend_conf": {"mask_conf": masks, "distill": {"teacher": "teacher", "weight": 1.0}}}
    (tmp_path / "run/train.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "run"


def test_every_model_that_it_starts_from_is_noted(folder):
    note_start(folder, "./run.sh --seeds 1")
    models = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("dense", "other", "teacher")}
    noted = {"commit": "1a2b3c4", "command": "./run.sh --seeds 1", "models": models}
    assert json.loads((folder / PROVENANCE).read_text()) == noted
    assert command_of(folder) == "./run.sh --seeds 1"
    assert changed_origin(folder) is None


@pytest.mark.parametrize("name", ["dense", "other", "teacher"])
def test_another_model_in_its_place(folder, name):
    note_start(folder, "./run.sh")
    assert changed_origin(folder) is None
    (folder.parent / name).write_text("trained again")
    assert str(changed_origin(folder)) == name
    with pytest.raises(InputError, match=f"run started from {name}, which has changed since.*Remove the folder"):
        refuse_changed_origin(folder)


def test_a_model_that_was_removed(folder):
    note_start(folder, "./run.sh")
    (folder.parent / "dense").unlink()
    refuse_changed_origin(folder)


@pytest.mark.parametrize("marker", ["checkpoint.pth", "checkpoint.previous.pth", ".trained"])
def test_a_started_run_keeps_its_note(folder, marker, monkeypatch):
    """A resumed run started from the models of its first start."""
    note_start(folder, "./run.sh")
    (folder / marker).touch()
    (folder.parent / "dense").write_text("trained again")
    monkeypatch.setattr(provenance, "git_commit", lambda: "5d6e7f8")
    note_start(folder, "./run.sh")
    assert changed_origin(folder) is not None
    assert commit_of(folder) == "1a2b3c4"


def test_an_attempt_that_trained_nothing_binds_nothing(folder):
    """Its dense model may be trained again before the next one."""
    note_start(folder, "./run.sh")
    (folder.parent / "dense").write_text("trained again")
    note_start(folder, "./run.sh")
    refuse_changed_origin(folder)


def test_a_run_that_starts_from_no_other(folder):
    (folder / "train.yaml").write_text(yaml.safe_dump({"frontend_conf": {"mask_conf": {"method": "routing"}}}))
    note_start(folder, "./run.sh")
    refuse_changed_origin(folder)


def test_a_run_that_noted_nothing(folder):
    """Older experiment folders have no note."""
    refuse_changed_origin(folder)
    assert commit_of(folder) == "1a2b3c4"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("./run.sh --local_data '' --dumpdir /home/me/dump/", "./run.sh --local_data '' --dumpdir dump"),
        ("./run.sh --start=/home/me/exp/1epoch.pth --python ~/bin/python3", "./run.sh --start=1epoch.pth --python python3"),
        ("./run.sh --dense_exp ../asr1/exp/a_seed{seed} --cluster tcp://host:8786/a", None),
        ("MBOSHI=/data/mboshi ./run.sh --train_set data/train", "MBOSHI=mboshi ./run.sh --train_set data/train"),
    ],
)
def test_a_command_that_leaves_the_machine_names_no_folder_of_it(command, expected):
    assert without_folders(command) == (expected or command)
