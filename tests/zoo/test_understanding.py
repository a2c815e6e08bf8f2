"""Packs of the task slu: ESPnet's Speech2Understand opens the baked one, and ours both kinds."""

import pytest
import yaml

from espnet_s3router import Speech2Text, Speech2Understand
from espnet_s3router.cli.main import main
from espnet_s3router.errors import InputError
from espnet_s3router.plugin.deployment import route
from espnet_s3router.plugin.training.task import S3RouterSLUTask
from espnet_s3router.zoo.archive import extract
from espnet_s3router.zoo.baked import pack_baked
from espnet_s3router.zoo.meta import read_meta
from espnet_s3router.zoo.routes import pack_routes

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def understanding(write_experiment, tmp_path_factory):
    """config.yaml and model file of a run of the task slu."""
    folder = tmp_path_factory.mktemp("slu")
    encoder = {"encoder": "rnn", "encoder_conf": {"hidden_size": 8, "num_layers": 1}, "batch_type": "sorted"}
    S3RouterSLUTask.main(cmd=write_experiment(folder, max_epoch=1, **encoder))
    return folder / "exp/config.yaml", folder / "exp/1epoch.pth"


def test_both_kinds(understanding, wave, audio, tmp_path, capsys):
    facts = {"language": "en", "licence": "CC0-1.0"}
    baked = pack_baked(*understanding, tmp_path / "baked.zip", task="slu", facts=facts, waves=[wave])
    route.write_experiment(*understanding, tmp_path / "en.route", task="slu", metadata=facts)
    routes = pack_routes([tmp_path / "en.route"], tmp_path / "routes.zip", waves=[wave])
    texts = {Speech2Understand.from_pretrained(packed.path)(audio)[0][0] for packed in (baked, routes)}
    assert texts == {baked.texts["en"][0]} == {routes.texts["en"][0]}
    for packed in (baked, routes):
        folder = tmp_path / packed.kind
        extract(packed.path, folder)
        assert read_meta(folder).task == "slu"
        head = yaml.safe_load((folder / "README.md").read_text("utf-8").split("---")[1])
        assert "spoken-language-understanding" in head["tags"] and "pipeline_tag" not in head
        card = (folder / "README.md").read_text("utf-8")
        assert "from espnet_s3router import Speech2Understand" in card
        assert "s3router understand --model OWNER/NAME --task en a.wav" in card
        assert main(["understand", "--model", str(packed.path), "--task", "en", str(audio)]) == 0
        assert capsys.readouterr().out.split("\t")[0].strip() == str(audio)
    with pytest.raises(InputError, match="the pack is of the task slu: open it with espnet_s3router.Speech2Understand"):
        Speech2Text.from_pretrained(baked.path)


def test_routes_of_both_tasks_in_one_pack(understanding, routes, audio, tmp_path):
    route.write_experiment(*understanding, tmp_path / "intent.route", task="slu")
    packed = pack_routes([tmp_path / "intent.route", *routes], tmp_path / "both.zip")
    extract(packed.path, tmp_path / "both")
    assert read_meta(tmp_path / "both").task == "asr"  # the task of de, which stands in the examples of the card
    speech2text = Speech2Text.from_pretrained(packed.path, route="nl")
    assert speech2text.routes == ["de", "nl"]
    with pytest.raises(InputError, match="route intent is of the task slu"):
        speech2text.set_target_lang("intent")
    assert isinstance(Speech2Understand.from_pretrained(packed.path)(audio)[0][0], str)


def test_a_pack_of_another_task(packed_routes):
    with pytest.raises(InputError, match="the pack is of the task asr: open it with espnet_s3router.Speech2Text$"):
        Speech2Understand.from_pretrained(packed_routes.path, route="nl")
