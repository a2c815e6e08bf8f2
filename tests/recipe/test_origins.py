"""What a point notes of the models it begins from, and what it makes of others in their place."""

import subprocess

import pytest
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.recipe.origins import NOTED, changed_origin, note_origins, refuse_changed_origin


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A point that starts from one model, takes its first mask from another and learns from a third."""
    monkeypatch.chdir(tmp_path)
    for name in ("dense", "other", "teacher"):
        (tmp_path / name).write_text(name)
    masks = {"method": "parp", "sparsity": 0.5, "start": "dense", "initial_mask": "other"}
    (tmp_path / "point").mkdir()
    config = {"frontend_conf": {"mask_conf": masks, "distill": {"teacher": "teacher", "weight": 1.0}}}
    (tmp_path / "point/train.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "point"


def test_every_model_that_it_begins_from_is_noted(folder):
    note_origins(folder)
    subprocess.run(["sha256sum", "--check", "--quiet", folder / NOTED], check=True)
    assert len((folder / NOTED).read_text().splitlines()) == 3
    assert changed_origin(folder) is None


@pytest.mark.parametrize("name", ["dense", "other", "teacher"])
def test_another_model_in_its_place(folder, name):
    note_origins(folder)
    (folder.parent / name).write_text("trained again")
    assert str(changed_origin(folder)) == name
    with pytest.raises(InputError, match=f"point began from another {name} than lies there now.*Remove the folder"):
        refuse_changed_origin(folder)


def test_a_model_that_was_removed(folder):
    note_origins(folder)
    (folder.parent / "dense").unlink()
    refuse_changed_origin(folder)


@pytest.mark.parametrize("marker", ["checkpoint.pth", ".trained"])
def test_what_is_begun_keeps_its_note(folder, marker):
    """A resumed run began from what was there at its start."""
    note_origins(folder)
    (folder / marker).touch()
    (folder.parent / "dense").write_text("trained again")
    note_origins(folder)
    assert changed_origin(folder) is not None


def test_a_point_that_begins_from_no_other(folder):
    (folder / "train.yaml").write_text(yaml.safe_dump({"frontend_conf": {"mask_conf": {"method": "routing"}}}))
    note_origins(folder)
    refuse_changed_origin(folder)
    assert not (folder / NOTED).exists()
