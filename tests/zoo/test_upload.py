"""Upload to a hub and back, with the real client against a local server; and everything that may go wrong on the way."""

import json
import math
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from espnet_s3router import Speech2Text
from espnet_s3router.cli.main import main
from espnet_s3router.errors import InputError
from espnet_s3router.routes import open_route
from espnet_s3router.zoo.card import card, front_matter, results
from espnet_s3router.zoo.meta import Meta, read_meta
from espnet_s3router.zoo.opened import open_pack
from espnet_s3router.zoo.routes import pack_routes
from espnet_s3router.zoo.source import download
from espnet_s3router.zoo.upload import upload
from tests.zoo.hub_server import TOKEN, Hub

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A local hub, which the client of this process uses with a valid token and an empty cache."""
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between its tries
    yield server
    server.close()


def test_round_trip(hub, packed_routes, audio, monkeypatch, capfd):
    done = upload(packed_routes.path, "jane/two", revision="v1")
    assert done.url.startswith(f"{hub.url}/jane/two/commit/") and "routes/nl.route" in done.files
    card = hub.repos["jane/two"][-1]["README.md"].decode()
    assert 'from_pretrained("jane/two", route="de")' in card and "OWNER/NAME" not in card
    upload(packed_routes.path, "jane/two", update=True)
    sent = len(hub.sent)
    assert sent == len(set(hub.sent))  # large files went once
    speech2text = Speech2Text.from_pretrained("jane/two@v1", route="nl")
    assert speech2text(audio)[0][0] == packed_routes.texts["nl"][0]
    hub.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert Speech2Text.from_pretrained("jane/two@v1", route="de")(audio)[0][0] == packed_routes.texts["de"][0]
    printed = capfd.readouterr()
    assert TOKEN not in printed.out + printed.err


def test_an_update_removes_files_of_the_older_pack(hub, packed_routes, routes, tmp_path):
    """A file that the owner added to the repository stays."""
    upload(packed_routes.path, "jane/two")
    hub.repos["jane/two"].append(hub.repos["jane/two"][-1] | {"mine.txt": b"notes"})
    one = pack_routes([path for path in routes if path.stem == "nl"], tmp_path / "one.zip", base_licence="MIT")
    upload(one.path, "jane/two", update=True)
    before, after = (set(hub.repos["jane/two"][number]) for number in (-2, -1))
    assert before - after == {"routes/de.route"} and "mine.txt" in after
    assert open_pack("jane/two").names == ["nl"]


def test_espnet_opens_what_was_uploaded(hub, packed_baked, wave, tmp_path):
    """Its own downloader rewrites the configuration in its cache, and our reader opens that folder too."""
    from espnet2.bin.asr_inference import Speech2Text as Stock
    from espnet_model_zoo.downloader import ModelDownloader

    upload(packed_baked.path, "jane/nl")
    files = ModelDownloader(tmp_path / "zoo").download_and_unpack("jane/nl")
    folder = Path(files["asr_model_file"]).parent
    assert isinstance(Stock(**files, ctc_weight=1.0, beam_size=2)(wave)[0][0], str)
    assert Speech2Text.from_pretrained(folder)(wave)[0][0] == packed_baked.texts["nl"][0]


def test_the_card(packed_routes, packed_baked, unpacked, hub):
    text = (unpacked / "README.md").read_text("utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert head["tags"] == ["espnet", "s3router", "audio", "automatic-speech-recognition"]
    assert (head["language"], head["datasets"]) == (["de", "nl"], ["toy"])  # from the name of a recipe
    assert (head["license"], head["license_name"]) == ("other", "cc0-1.0-and-mit")  # data, base
    facts = read_meta(unpacked).facts
    shapes = open_route(unpacked / "routes/nl.route").coded.values()
    share = sum(mask.zeros for mask in shapes) / sum(math.prod(mask.shape) for mask in shapes)
    assert "| nl | test | CER | 31.2 |" in text and f"| nl | routing | {share:.2%} of" in text
    assert facts["base"]["licence"] == "MIT"


def test_a_corpus_of_the_hub_keeps_its_name_on_the_card():
    facts = {"corpus": "jane/street-names", "recipe": "mine/asr1", "training_command": "./run.sh", "bytes": 1}
    models = {"en": facts | {"metrics": {"cer": 3.0}}}
    meta = Meta(kind="baked", task="asr", files={}, yaml_files={}, facts={"models": models})
    assert front_matter(meta)["datasets"] == ["jane/street-names"]
    assert "| jane/street-names |" in card(meta) and "`./run.sh` (recipe mine/asr1)" in card(meta)


def test_measures_on_a_card_have_their_whole_names():
    names = {"test_en_cer": "test_en | CER", "wer": "– | WER", "test_slot_value_cer": "test | SLOT VALUE CER"}
    names |= {"test_slu_f1": "test | SLU F1", "macro_f1": "– | MACRO F1", "dev_en_accuracy": "dev_en | ACCURACY"}
    model = {"bytes": 1, "metrics": dict.fromkeys(names, 31.25)}
    text = results(Meta(kind="baked", task="slu", files={}, yaml_files={}, facts={"models": {"en": model}}))
    for shown in names.values():
        assert f"| en | {shown} | 31.2 |" in text


def test_dry_run_sends_nothing(hub, packed_routes, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert main(["upload", str(packed_routes.path), "jane/two", "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert "\troutes/nl.route" in printed and "would go to jane/two; nothing was sent" in printed
    assert main(["upload", str(packed_routes.path), "jane/two", "--dry_run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["url"] == ""
    assert not hub.requests


def test_no_token(hub, packed_routes, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match="there is no token: set HF_TOKEN"):
        upload(packed_routes.path, "jane/two")
    assert not hub.requests


def test_a_token_that_may_not_write(hub, packed_routes, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(InputError, match=r"refuses the token for jane/two \(status 401\)") as error:
        upload(packed_routes.path, "jane/two")
    assert "hf_other" not in str(error.value)


def test_a_repository_that_exists(hub, packed_routes):
    hub.repos["jane/two"] = [{}]
    with pytest.raises(InputError, match="jane/two exists already: give another name, or --update"):
        upload(packed_routes.path, "jane/two")
    assert hub.repos["jane/two"] == [{}]


def test_a_private_pack_stays_private(hub, packed_routes):
    """The hub would ignore that the user wants a repository that exists to be private."""
    upload(packed_routes.path, "jane/secret", private=True)
    assert upload(packed_routes.path, "jane/secret", private=True, update=True).url
    hub.repos["jane/two"] = [{}]
    with pytest.raises(InputError, match="jane/two exists and is public, expected a private one"):
        upload(packed_routes.path, "jane/two", private=True, update=True)
    assert hub.repos["jane/two"] == [{}]


def test_a_tag_is_used_once(hub, packed_routes):
    upload(packed_routes.path, "jane/two", revision="v1")
    commits = len(hub.repos["jane/two"])
    with pytest.raises(InputError, match="jane/two has the tag v1 already, expected a new one"):
        upload(packed_routes.path, "jane/two", update=True, revision="v1")
    assert len(hub.repos["jane/two"]) == commits  # nothing was sent
    upload(packed_routes.path, "jane/two", update=True, revision="v2")


def test_the_network_goes_in_the_middle(hub, packed_routes, monkeypatch):
    hub.broken = 4
    with pytest.raises(InputError, match="Run the same command with --update"):
        upload(packed_routes.path, "jane/two")
    hub.broken = None
    assert upload(packed_routes.path, "jane/two", update=True).url


def test_names_that_are_no_repository(packed_routes, tmp_path):
    with pytest.raises(InputError, match="expected OWNER/NAME"):
        upload(packed_routes.path, "two")
    with pytest.raises(InputError, match="there is no such pack"):
        upload(tmp_path / "x.zip", "jane/two")


def test_a_folder_that_is_no_pack_is_not_copied(tmp_path, monkeypatch):
    """It may be large, or hold the folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "notes.txt").write_text("no pack")
    with pytest.raises(InputError, match="no pack|meta.yaml"):
        upload(tmp_path, "jane/routes")
    assert not list((tmp_path / "temporary").iterdir())


def test_an_unknown_licence(hub, routes, tmp_path):
    from espnet_s3router.zoo.routes import pack_routes

    packed = pack_routes(routes, tmp_path / "two.zip")
    with pytest.raises(InputError, match="the licence of the base is unknown. Pack again with --base_licence"):
        upload(packed.path, "jane/two", dry_run=True)


def test_ids_without_a_pack(hub):
    hub.repos["jane/other"] = [{"config.json": b"{}"}]
    with pytest.raises(InputError, match=r"jane/other: holds no meta.yaml, so no pack"):
        download("jane/other")
    with pytest.raises(InputError, match="jane/other: has no revision 'v9'"):
        download("jane/other@v9")
    with pytest.raises(InputError, match="jane/none: is no file here, and no public model of the hub"):
        download("jane/none")


@pytest.mark.parametrize("name", ["./nl.zip", "../packs", "a--b/c"])
def test_names_that_the_hub_cannot_have(hub, name):
    with pytest.raises(InputError, match="there is no such file or folder|is no file here, and no name of the hub"):
        download(name)


def test_without_network(hub, monkeypatch):
    hub.close()
    with pytest.raises(InputError, match="is not in the cache of this machine, and the hub cannot be reached"):
        download("jane/two")


def test_a_cache_that_cannot_be_written(hub, packed_routes, tmp_path):
    upload(packed_routes.path, "jane/two")
    (tmp_path / "hub").write_text("a file in place of the folder")
    with pytest.raises(InputError, match="the cache of the hub cannot be written: .*Set HF_HOME"):
        download("jane/two")


PLOT = Path(__file__).parents[2] / "docs/cer_against_sparsity.png"


def test_plots_go_with_the_card(hub, routes, tmp_path):
    """Through the hub and back: the card shows the file that lies beside it, and the pack opens."""
    assert (
        main(["pack", "routes", str(tmp_path / "two.zip"), *map(str, routes), "--base_licence", "MIT", "--plots", str(PLOT)])
        == 0
    )
    upload(tmp_path / "two.zip", "jane/plotted")
    folder = download("jane/plotted")
    (shown,) = re.findall(r"!\[cer against sparsity\]\((.+)\)", (folder / "README.md").read_text("utf-8"))
    assert shown == "plots/cer_against_sparsity.png" and (folder / shown).read_bytes() == PLOT.read_bytes()
    assert Speech2Text.from_pretrained("jane/plotted", route="nl").routes == ["de", "nl"]


def test_plots_that_are_none(routes, tmp_path, capsys):
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "b.pdf").write_bytes(PLOT.read_bytes())
    plots = [str(tmp_path / name) for name in ("a.png", "b.pdf", "c.png")] + [str(PLOT), str(PLOT)]
    assert main(["pack", "routes", str(tmp_path / "two.zip"), *map(str, routes), "--plots", *plots]) == 1
    printed = capsys.readouterr().err
    problems = ("a.png: is no PNG file", "b.pdf: is no PNG file", "c.png: there is no such file", "two plots have this name")
    assert "plots: 4 problem(s)" in printed and all(problem in printed for problem in problems)
    assert not (tmp_path / "two.zip").exists()


def test_a_plot_of_a_whole_model(trained, tmp_path):
    from espnet_s3router.zoo.baked import pack_baked

    run = trained("routing")
    pack_baked(run / "config.yaml", run / "1epoch.pth", tmp_path / "nl", plots=[PLOT])
    assert read_meta(tmp_path / "nl").facts["plots"] == ["plots/cer_against_sparsity.png"]
    assert "## Plots" in (tmp_path / "nl/README.md").read_text("utf-8")
