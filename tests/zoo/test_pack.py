"""Packs: from another folder they give the text of the trained model, they are the same every time, and tell no paths."""

import io
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest
import yaml
from toy_routes import edit

from espnet_s3router.errors import InputError
from espnet_s3router.routes import open_route
from espnet_s3router.zoo.baked import pack_baked
from espnet_s3router.zoo.experiment import pack_experiment
from espnet_s3router.zoo.opened import open_pack
from espnet_s3router.zoo.routes import pack_routes, with_source
from espnet_s3router.zoo.scrub import files_of_model, packed_config, packed_source, without_paths
from espnet_s3router.zoo.write import check_out
from tests.zoo.conftest import FACTS

pytestmark = pytest.mark.filterwarnings("ignore")  # of espnet_model_zoo

STOCK = """
import sys, warnings
warnings.simplefilter("ignore")
import soundfile, torch
import espnet_model_zoo.downloader as zoo
from espnet2.bin.asr_inference import Speech2Text
cache, (archive, audio) = sys.argv[1], sys.argv[2:]
zoo.ModelDownloader.__init__.__defaults__ = (cache,)
speech2text = Speech2Text.from_pretrained(archive, ctc_weight=1.0, beam_size=2)
assert not [name for name in sys.modules if name.startswith("espnet_s3router")]
assert type(speech2text.asr_model.frontend).__name__ == "S3prlFrontend"
samples = torch.from_numpy(soundfile.read(audio, dtype="float32")[0])
assert isinstance(speech2text(samples)[0][0], str)
model = speech2text.asr_model
best = torch.unique_consecutive(model.ctc.argmax(model.encode(samples[None], torch.tensor([len(samples)]))[0])[0])
print("TEXT", "".join(model.token_list[token] for token in best if token != 0))
print("SUM", float(speech2text.asr_model.state_dict()["ctc.ctc_lo.weight"].double().sum()))
"""


def read(archive, name):
    with zipfile.ZipFile(archive) as file:
        return file.read(name)


def test_stock_espnet_opens_a_baked_pack_elsewhere(packed_baked, trained, audio, tmp_path):
    """Without this package, without network, from another folder."""
    import torch

    from espnet_s3router import Speech2Text

    moved = shutil.copy(packed_baked.path, tmp_path / "moved.zip")
    command = [sys.executable, "-c", STOCK, str(tmp_path / "cache"), moved, str(audio)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    weights = torch.load(trained("routing") / "valid.loss.ave.pth", weights_only=True)["ctc.ctc_lo.weight"]
    assert f"SUM {float(weights.double().sum())}" in done.stdout
    (text,) = packed_baked.texts["nl"]
    assert f"TEXT {text}\n" in done.stdout
    assert Speech2Text.from_pretrained(moved)(audio)[0][0] == text


def test_a_baked_pack_has_no_paths_of_this_machine(packed_baked, tmp_path):
    config = yaml.safe_load(read(packed_baked.path, "config.yaml"))
    assert config["frontend_conf"]["frontend_conf"]["path_or_url"] == "pack_files/upstream"
    assert config["train_data_path_and_name_and_type"] == [] == config["train_shape_file"]
    assert config["token_list"] == ["<blank>", "<unk>", "A", "B", "<sos/eos>"]
    with zipfile.ZipFile(packed_baked.path) as file:
        content = b"".join(file.read(name) for name in file.namelist() if name.endswith((".yaml", ".md", ".json")))
    assert str(tmp_path.parent).encode() not in content


def test_a_baked_pack_holds_its_upstream_once(packed_baked, trained):
    """Its folder in the pack has the masked weights, under the names of transformers, and model.pth has the head."""
    import io

    import safetensors.torch
    import torch

    from espnet_s3router.plugin.deployment.bake import bake_upstream, load_experiment

    state = torch.load(io.BytesIO(read(packed_baked.path, "model.pth")), weights_only=True)
    assert {key.split(".")[0] for key in state if ".upstream." not in key} >= {"ctc"}
    assert not any(".upstream.upstream." in key for key in state)
    run = trained("routing")
    model, _ = load_experiment(run / "config.yaml", run / "valid.loss.ave.pth", "asr")
    bake_upstream(model.frontend.expert)
    weights = safetensors.torch.load(read(packed_baked.path, "pack_files/upstream/model.safetensors"))
    expected = model.frontend.expert.model.state_dict()
    assert weights.keys() == expected.keys() and all(torch.equal(weights[key], expected[key]) for key in expected)
    size = sum(tensor.numel() * 4 for tensor in expected.values())
    assert packed_baked.path.stat().st_size < 1.5 * size + 50_000


def test_equal_bytes(packed_routes, packed_baked, routes, trained, wave, tmp_path):
    again = pack_routes(routes, tmp_path / "again.zip", base_licence="MIT")
    assert again.path.read_bytes() == packed_routes.path.read_bytes()
    run = trained("routing")
    files = (run / "config.yaml", run / "valid.loss.ave.pth")
    again = pack_baked(*files, tmp_path / "baked.zip", facts=FACTS, base_licence="MIT")
    assert again.path.read_bytes() == packed_baked.path.read_bytes()


def test_routes_from_a_folder_that_moved(packed_routes, unpacked, routes, wave, tmp_path):
    from espnet_s3router.plugin.deployment.route_model import load_model
    from espnet_s3router.serving import Router

    router = Router(open_pack(shutil.move(unpacked, tmp_path / "elsewhere")))
    for path in routes:
        expected = load_model(path).encode(wave[None], wave.new_full((1,), len(wave)).long())[0][0]
        assert (router.hidden(path.stem, wave) == expected).all()
        assert router.transcribe(wave, path.stem).text == packed_routes.texts[path.stem][0]


def test_a_pack_of_routes_by_name_is_little_more_than_its_routes(routes, tmp_path):
    renamed = []
    for path in routes:
        header = open_route(path).header
        assert "path_or_url" in header["config"]["frontend_conf"]["frontend_conf"]
    source = header["config"]["frontend_conf"]["frontend_conf"]
    with pytest.raises(InputError, match="--base name: the base lies on this machine"):
        pack_routes(routes, tmp_path / "x.zip", base="name", source=source)
    assert not list(tmp_path.glob("*.zip"))
    for path in routes:
        renamed.append(tmp_path / path.name)
        renamed[-1].write_bytes(with_source(path, {"upstream": "hf_hubert_custom", "path_or_url": "OWNER/NAME"}))
    assert sum(path.stat().st_size for path in renamed) < 1.05 * sum(path.stat().st_size for path in routes)
    assert open_route(renamed[0]).decode().masks.keys() == open_route(routes[0]).decode().masks.keys()


def test_a_packed_route_has_no_folder_of_the_machine_that_trained_it(routes, tmp_path):
    shutil.copy(routes[0], tmp_path / "nl.route")

    def start_from_another_run(header, tensors):
        started = {"initial_mask": "/home/jane/exp/1epoch.pth"}
        header["config"]["frontend_conf"]["mask_conf"] |= started
        header["metadata"]["options"] |= started

    edit(tmp_path / "nl.route", start_from_another_run)
    content = with_source(tmp_path / "nl.route", {"upstream": "hf_hubert_custom", "path_or_url": "OWNER/NAME"})
    assert b"1epoch.pth" in content and b"jane" not in content


def test_an_embedded_base_is_named(untrained_route, tmp_path):
    packed = pack_routes([untrained_route], tmp_path / "one", base="auto")
    names = sorted(path.relative_to(packed.path).as_posix() for path in packed.path.rglob("*") if path.is_file())
    assert names == ["README.md", "meta.yaml", "routes/en.route"]
    assert packed.bytes < 1.5 * untrained_route.stat().st_size + 4000
    facts = yaml.safe_load((packed.path / "meta.yaml").read_text("utf-8"))["s3router"]["facts"]
    assert facts["base"]["licence"] == "CC-BY-SA-3.0 OR GPL-2.0-only"
    assert open_pack(packed.path).names == ["en"]


@pytest.fixture
def untrained_route(write_experiment, tmp_path):
    """The route of a run of no update on the upstream inside the package."""
    import torch

    from espnet_s3router.plugin.deployment import route
    from espnet_s3router.plugin.training.task import S3RouterASRTask

    source = {"frontend_conf": {"upstream": "s3router_hubert_mini"}}
    out = tmp_path / "exp"
    S3RouterASRTask.main(cmd=write_experiment(tmp_path, out=out, dry_run=True, iterator_type="none", frontend=source))
    model, _ = S3RouterASRTask.build_model_from_file(out / "config.yaml", None, "cpu")
    torch.save(model.state_dict(), out / "1epoch.pth")
    route.write_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "en.route")
    return tmp_path / "en.route"


def test_configuration():
    config = {"train_shape_file": ["a/b", "c"], "rir_scp": "a/b", "fold_length": [80], "dist_init_method": "env://"}
    assert {key: without_paths(value) for key, value in config.items()} == {
        "train_shape_file": [],
        "rir_scp": None,
        "fold_length": [80],
        "dist_init_method": "env://",
    }


def test_files_that_a_model_needs_are_packed(tmp_path):
    (tmp_path / "bpe.model").write_bytes(b"pieces")
    (tmp_path / "stats.npz").write_bytes(b"means")
    config = {
        "bpemodel": str(tmp_path / "bpe.model"),
        "normalize_conf": {"stats_file": str(tmp_path / "stats.npz")},
        "frontend_conf": {"frontend_conf": {"upstream": "wav2vec2"}},
        "token_list": ["a/b"],
        "init_param": ["x.pth"],
    }
    made = packed_config(config, tmp_path / "pack")
    assert (made["bpemodel"], made["normalize_conf"]) == (
        "pack_files/bpe.model",
        {"stats_file": "pack_files/feats_stats.npz"},
    )
    assert (tmp_path / "pack/pack_files/feats_stats.npz").read_bytes() == b"means"
    assert made["token_list"] == ["a/b"] and made["init_param"] == []
    (tmp_path / "stats.npz").unlink()
    with pytest.raises(InputError, match=r"normalize_conf.stats_file is .*stats.npz, and there is no such file"):
        packed_config(config, tmp_path / "other")


HUB_CLONE = ("tf_model.h5", "flax_model.msgpack", "pytorch_model.bin", "tokenizer.json", "merges.txt", "onnx/model.onnx")


def test_a_clone_of_the_hub_is_packed_without_files_of_other_libraries(routes, tmp_path):
    """openai/whisper-tiny.en holds its weights three times, in types that packs refuse."""
    source = open_route(routes[0]).header["config"]["frontend_conf"]["frontend_conf"]
    clone = tmp_path / "clone"
    shutil.copytree(source["path_or_url"], clone)
    (clone / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    for name in HUB_CLONE:
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_bytes(b"of another library")
    packed = pack_routes(routes, tmp_path / "pack", source={**source, "path_or_url": str(clone)})
    names = {path.name for path in (packed.path / "pack_files/upstream").iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    facts = yaml.safe_load((packed.path / "meta.yaml").read_text("utf-8"))["s3router"]["facts"]
    assert facts["base"]["licence"] == "mit"
    assert open_pack(packed.path).names == ["de", "nl"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("pytorch_model.bin", "model.h5"), {"pytorch_model.bin"}),
        (
            ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"),
            {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"},
        ),
        (("adapter.nld.safetensors", "model.safetensors", "LICENSE", "run.py"), {"model.safetensors", "LICENSE"}),
    ],
)
def test_files_that_a_loader_reads(names, expected, tmp_path):
    for name in ("config.json", *names):
        (tmp_path / name).touch()
    assert set(files_of_model(tmp_path)) == {"config.json", *expected}


def test_a_type_that_packs_do_not_hold(tmp_path):
    (tmp_path / "model.ckpt").touch()
    with pytest.raises(InputError, match=r"packs hold no files like model.ckpt, expected the types .*Rename it"):
        packed_source({"upstream": "wav2vec2_custom", "path_or_url": str(tmp_path / "model.ckpt")}, tmp_path / "pack")


def test_a_baked_pack_that_this_package_cannot_open_is_not_written(trained, tmp_path, monkeypatch):
    from espnet_s3router.zoo import meta

    monkeypatch.setattr(meta, "SUFFIXES", tuple(suffix for suffix in meta.SUFFIXES if suffix != ".pth"))
    run = trained("routing")
    with pytest.raises(InputError, match=r"model.pth: packs hold no such files"):
        pack_baked(run / "config.yaml", run / "1epoch.pth", tmp_path / "x.zip")
    assert not list(tmp_path.iterdir())


def test_a_model_that_differs_after_packing_is_not_written(trained, tmp_path, monkeypatch):
    from espnet_s3router.zoo import baked

    def broken(*given):
        stock = open_with_espnet(*given)
        stock.asr_model.ctc.ctc_lo.bias.data.add_(1e-3)
        return stock

    open_with_espnet = baked.open_with_espnet
    monkeypatch.setattr(baked, "open_with_espnet", broken)
    run = trained("routing")
    with pytest.raises(InputError, match="was not written: a model from it gives other outputs"):
        pack_baked(run / "config.yaml", run / "1epoch.pth", tmp_path / "x.zip")
    assert not list(tmp_path.iterdir())


def test_only_packs_are_replaced(routes, trained, tmp_path):
    """A user who forgets the name of the pack names a route in its place."""
    (tmp_path / "diary").write_text("mine")
    (tmp_path / "photos.zip").write_bytes(b"PK of something else")
    (tmp_path / "dir.zip").mkdir()
    shutil.copy(routes[0], tmp_path)
    before = {path.name: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()}
    run = trained("routing")
    files = (run / "config.yaml", run / "1epoch.pth")
    for name, expected in {
        ".": "is a folder that holds other files",
        routes[0].name: "is a file that holds no pack",
        "photos.zip": "is a file that holds no pack",
        "dir.zip": "is a folder, and the name is that of a zip file",
    }.items():
        for pack in (
            lambda out: pack_routes(routes[1:], out),
            *(partial(one, *files) for one in (pack_baked, pack_experiment)),
        ):
            with pytest.raises(InputError, match=expected):
                pack(tmp_path / name)
    assert {path.name: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_pack_replaces_an_older_one(packed_routes, unpacked, tmp_path):
    for older in (shutil.copy(packed_routes.path, tmp_path / "two.zip"), unpacked, tmp_path / "new.zip"):
        check_out(Path(older))


def test_command(routes, audio, tmp_path, capsys):
    from espnet_s3router.cli.main import main

    out = str(tmp_path / "two.zip")
    assert main(["pack", "routes", out, *map(str, routes), "--audio", str(audio)]) == 0
    printed = capsys.readouterr().out
    assert f"{audio}\tde\t" in printed and "opened again, and its outputs are those before" in printed
    assert main(["transcribe", "--model", out, str(audio)]) == 1
    assert "--lang is missing: name one of de, nl" in capsys.readouterr().err
    assert main(["transcribe", "--model", out, "--lang", "nl", str(audio)]) == 0
    assert capsys.readouterr().out.startswith(f"{audio}\tnl\t")


def test_archive_has_folders_first(packed_routes):
    """espnet_model_zoo rewrites the paths that an archive lists."""
    with zipfile.ZipFile(io.BytesIO(packed_routes.path.read_bytes())) as file:
        names = file.namelist()
    assert names[0] == "meta.yaml" and "pack_files/upstream/" in names
