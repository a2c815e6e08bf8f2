"""Packs of experiments that are neither routes nor baked: shrunk models, and upstreams that ESPnet does not know."""

import shutil
import zipfile

import pytest
import torch
import yaml

from espnet_s3router import Speech2Text
from espnet_s3router.bin.asr_train import main as train
from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment.bake import NotBakeable, load_experiment
from espnet_s3router.plugin.deployment.encoding import hidden_states
from espnet_s3router.plugin.deployment.route import write_experiment as write_route
from espnet_s3router.plugin.deployment.shrink import shrink_experiment
from espnet_s3router.serving import Router
from espnet_s3router.zoo.experiment import pack_experiment, pack_model
from espnet_s3router.zoo.opened import open_pack
from espnet_s3router.zoo.routes import pack_routes
from tests.zoo.conftest import FACTS

pytestmark = pytest.mark.filterwarnings("ignore")
HJ = {"method": "hj", "sparsity": 0.4, "closed": 0.3, "updates": 4}


@pytest.fixture(scope="module")
def small(write_experiment, trained, tmp_path_factory):
    """Folder of a shrunk experiment."""
    folder = tmp_path_factory.mktemp("hj")
    train(write_experiment(folder, mask_conf={**HJ, "start": str(trained("finetune") / "1epoch.pth")}, max_epoch=2))
    return shrink_experiment(folder / "exp/config.yaml", folder / "exp/2epoch.pth", folder / "small").folder


def test_a_shrunk_model(small, wave, tmp_path):
    files = (small / "config.yaml", small / "model.pth")
    packed = pack_model(*files, tmp_path / "small.zip", facts=FACTS, base_licence="MIT", waves=[wave])
    assert packed.kind == "experiment"
    again = pack_experiment(*files, tmp_path / "again.zip", facts=FACTS, base_licence="MIT")
    assert again.path.read_bytes() == packed.path.read_bytes()
    with zipfile.ZipFile(packed.path) as file:
        config = file.read("config.yaml").decode()
    source = yaml.safe_load(config)["frontend_conf"]["frontend_conf"]
    assert source["shrunk"] == "pack_files/shrunk_upstream.safetensors"
    assert str(small.parent.parent) not in config
    moved = shutil.move(packed.path, tmp_path / "moved.zip")
    speech2text = Speech2Text.from_pretrained(moved)
    expected = hidden_states(load_experiment(*files, "asr")[0], wave)
    assert torch.equal(speech2text.router.hidden("nl", wave), expected)
    assert speech2text(wave)[0][0] == packed.texts["nl"][0]
    with pytest.raises(NotBakeable, match="stock ESPnet builds every upstream in its pretrained size"):
        pack_model(*files, tmp_path / "x.zip", kind="baked")


def test_a_route_on_a_smaller_base(small, write_experiment, toy_upstreams, wave, tmp_path):
    """The pack holds the smaller base, too, and opens elsewhere."""
    inner = toy_upstreams["hf_hubert"] | {"shrunk": str(small / "upstream.safetensors")}
    train(write_experiment(tmp_path, frontend={"frontend_conf": inner}, max_epoch=1))
    route = write_route(tmp_path / "exp/config.yaml", tmp_path / "exp/1epoch.pth", tmp_path / "nl.route", metadata=FACTS)
    packed = pack_routes([tmp_path / "nl.route"], tmp_path / "one", base_licence="MIT", waves=[wave])
    shutil.rmtree(tmp_path / "exp")
    router = Router(open_pack(shutil.move(packed.path, tmp_path / "moved")))
    assert route and router.transcribe(wave, "nl").text == packed.texts["nl"][0]
    assert str(tmp_path) not in (tmp_path / "moved/meta.yaml").read_text("utf-8")


def test_a_finetuned_run_keeps_no_path_of_its_start(write_experiment, trained, wave, tmp_path):
    conf = {"method": "omp", "sparsity": 0.4, "start": str(trained("finetune") / "1epoch.pth")}
    train(write_experiment(tmp_path, mask_conf=conf, max_epoch=1))
    packed = pack_experiment(tmp_path / "exp/config.yaml", tmp_path / "exp/1epoch.pth", tmp_path / "omp.zip", waves=[wave])
    with zipfile.ZipFile(packed.path) as file:
        config = yaml.safe_load(file.read("config.yaml"))
    assert config["frontend_conf"]["mask_conf"]["start"] == "1epoch.pth"
    assert Speech2Text.from_pretrained(packed.path)(wave)[0][0] == packed.texts["model"][0]


def test_an_experiment_of_another_frontend(packed_baked, tmp_path):
    from espnet_s3router.zoo.archive import extract
    from espnet_s3router.zoo.opened import placed

    folder = tmp_path / "pack"
    extract(packed_baked.path, folder)
    config = placed(yaml.safe_load((folder / "config.yaml").read_text("utf-8")), folder)
    (folder / "placed.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(InputError, match="frontend is s3prl, expected masked_upstream. Pack it with espnet2.bin.pack"):
        pack_experiment(folder / "placed.yaml", folder / "model.pth", tmp_path / "x.zip")
