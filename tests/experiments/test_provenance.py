"""What a point notes when it begins, and what it makes of other models in the place of those it began from."""

import hashlib
import json

import pytest
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import provenance as begun
from espnet_s3router.experiments.provenance import NOTED, changed_origin, commit_of, note_beginning, refuse_changed_origin


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A point that starts from one model, takes its first mask from another and learns from a third."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(begun, "git_commit", lambda: "1a2b3c4")
    for name in ("dense", "other", "teacher"):
        (tmp_path / name).write_text(name)
    masks = {"method": "parp", "sparsity": 0.5, "start": "dense", "initial_mask": "other"}
    (tmp_path / "point").mkdir()
    config = {"frontend_conf": {"mask_conf": masks, "distill": {"teacher": "teacher", "weight": 1.0}}}
    (tmp_path / "point/train.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "point"


def test_every_model_that_it_begins_from_is_noted(folder):
    note_beginning(folder)
    models = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("dense", "other", "teacher")}
    assert json.loads((folder / NOTED).read_text()) == {"commit": "1a2b3c4", "models": models}
    assert changed_origin(folder) is None


@pytest.mark.parametrize("name", ["dense", "other", "teacher"])
def test_another_model_in_its_place(folder, name):
    note_beginning(folder)
    assert changed_origin(folder) is None
    (folder.parent / name).write_text("trained again")
    assert str(changed_origin(folder)) == name
    with pytest.raises(InputError, match=f"point began from another {name} than lies there now.*Remove the folder"):
        refuse_changed_origin(folder)


def test_a_model_that_was_removed(folder):
    note_beginning(folder)
    (folder.parent / "dense").unlink()
    refuse_changed_origin(folder)


@pytest.mark.parametrize("marker", ["checkpoint.pth", "checkpoint.previous.pth", ".trained"])
def test_what_is_begun_keeps_its_note(folder, marker, monkeypatch):
    """A resumed run began from what was there at its start."""
    note_beginning(folder)
    (folder / marker).touch()
    (folder.parent / "dense").write_text("trained again")
    monkeypatch.setattr(begun, "git_commit", lambda: "5d6e7f8")
    note_beginning(folder)
    assert changed_origin(folder) is not None
    assert commit_of(folder) == "1a2b3c4"


def test_an_attempt_that_trained_nothing_binds_nothing(folder):
    """Its dense model may be trained again before the next one."""
    note_beginning(folder)
    (folder.parent / "dense").write_text("trained again")
    note_beginning(folder)
    refuse_changed_origin(folder)


def test_a_point_that_begins_from_no_other(folder):
    (folder / "train.yaml").write_text(yaml.safe_dump({"frontend_conf": {"mask_conf": {"method": "routing"}}}))
    note_beginning(folder)
    refuse_changed_origin(folder)


def test_a_point_that_noted_nothing(folder):
    """As those that were begun before there was a note."""
    refuse_changed_origin(folder)
    assert commit_of(folder) == "1a2b3c4"
