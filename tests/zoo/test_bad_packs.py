"""Packs that are not whole, or not ours: each ends in a message, before anything is loaded."""

import pickle
import zipfile

import pytest
import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.zoo.archive import extract
from espnet_s3router.zoo.meta import escapes
from espnet_s3router.zoo.opened import open_pack


def changed_meta(folder, **changes):
    content = yaml.safe_load((folder / "meta.yaml").read_text("utf-8"))
    content["s3router"] |= changes.pop("s3router", {})
    (folder / "meta.yaml").write_text(yaml.safe_dump(content | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("meta.yaml", "holds no meta.yaml, expected a pack"),
        ("routes/nl.route", "routes/nl.route: is missing"),
        ("pack_files/upstream/config.json", "config.json: is missing"),
    ],
)
def test_a_missing_file(unpacked, name, message):
    (unpacked / name).unlink()
    with pytest.raises(InputError, match=message):
        open_pack(unpacked)


def test_a_changed_file(unpacked):
    path = unpacked / "routes/nl.route"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"nl.route: is damaged, or was changed"):
        open_pack(unpacked)


@pytest.mark.parametrize("name", ["../evil.route", "/etc/evil.route", "a/../../evil.route"])
def test_a_path_that_leaves_the_archive(unpacked, name, tmp_path):
    assert escapes(name)
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("meta.yaml", "{}")
        file.writestr(name, b"evil")
    with pytest.raises(InputError, match="leaves the archive"):
        extract(archive, tmp_path / "deep/below")
    assert not list(tmp_path.rglob("evil.route"))
    changed_meta(unpacked, files={"route_nl": name})
    with pytest.raises(InputError, match="leaves the pack"):
        open_pack(unpacked)


def test_a_link_in_an_archive(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("meta.yaml", "{}")
        file.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="link: is a link"):
        extract(tmp_path / "x.zip", tmp_path / "out")


def test_no_archive(tmp_path, packed_routes):
    (tmp_path / "x.zip").write_bytes(b"nothing")
    with pytest.raises(InputError, match="is no zip file"):
        open_pack(tmp_path / "x.zip")
    (tmp_path / "x.zip").write_bytes(packed_routes.path.read_bytes()[:-100])
    with pytest.raises(InputError, match="or a damaged one"):
        open_pack(tmp_path / "x.zip")


def test_models_of_others_and_newer_ones(unpacked):
    changed_meta(unpacked, s3router={"format": 99})
    with pytest.raises(InputError, match="has format 99, expected at most 1.*Upgrade"):
        open_pack(unpacked)
    changed_meta(unpacked, s3router={"format": 1, "kind": "shrunken"})
    with pytest.raises(InputError, match=r"lacks kind \(baked or routes or experiment\)"):
        open_pack(unpacked)
    content = yaml.safe_load((unpacked / "meta.yaml").read_text("utf-8"))
    del content["s3router"]
    (unpacked / "meta.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(InputError, match="a model of ESPnet, but no pack of this package"):
        open_pack(unpacked)


def test_a_configuration_that_this_espnet_does_not_know(packed_baked, tmp_path):
    """As a pack of another version may have."""
    extract(packed_baked.path, tmp_path / "pack")
    config = yaml.safe_load((tmp_path / "pack/config.yaml").read_text("utf-8"))
    (tmp_path / "pack/config.yaml").write_text(yaml.safe_dump(config | {"model": "of_the_future"}), encoding="utf-8")
    changed_meta(tmp_path / "pack", espnet="209901")
    with pytest.raises(InputError, match="cannot be loaded.* made with espnet 209901, here is .*install that version"):
        open_pack(tmp_path / "pack")


class Evil:
    """Its pickle writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_in_place_of_tensors_is_refused(packed_baked, tmp_path):
    """The digests fit, so only the reader of tensors can refuse it."""
    from espnet_s3router.files import digest

    folder = tmp_path / "pack"
    extract(packed_baked.path, folder)
    (folder / "model.pth").write_bytes(pickle.dumps(Evil(str(tmp_path / "evil"))))
    content = yaml.safe_load((folder / "meta.yaml").read_text("utf-8"))
    content["s3router"]["sha256"]["model.pth"] = digest(folder / "model.pth")
    (folder / "meta.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(InputError, match="model.pth: is no file of tensors, and may run code"):
        open_pack(folder)
    assert not (tmp_path / "evil").exists()


def test_a_pickle_as_the_base_is_refused(tmp_path):
    from espnet_s3router.zoo.scrub import packed_source

    (tmp_path / "wav2vec2.pt").write_bytes(pickle.dumps(Evil(str(tmp_path / "evil"))))
    with pytest.raises(InputError, match=r"wav2vec2.pt: is no file of tensors"):
        packed_source({"upstream": "wav2vec2_custom", "path_or_url": str(tmp_path / "wav2vec2.pt")}, tmp_path / "pack")
    assert not (tmp_path / "evil").exists()


def test_types_of_files_that_packs_do_not_have(unpacked):
    (unpacked / "run.py").write_text("print('evil')")
    changed_meta(unpacked, files={"route_nl": "routes/nl.route", "code": "run.py"})
    with pytest.raises(InputError, match="run.py: has no digest"):
        open_pack(unpacked)


def test_a_wrong_path_is_no_hub_id(tmp_path):
    with pytest.raises(InputError, match="there is no such file or folder. Expected a folder, a zip file, or OWNER/NAME"):
        open_pack(tmp_path / "absent.zip")
