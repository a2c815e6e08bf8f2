"""``s3router doctor``: what it finds here, and what it says where something is wrong."""

import json

import pytest

from espnet_s3router.cli.main import main
from espnet_s3router.cli.setup import diagnosis

pytestmark = pytest.mark.filterwarnings("ignore")


def test_this_installation(capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert main(["doctor", "--json"]) == 0
    printed = capsys.readouterr().out
    report = json.loads(printed)
    found = {one["name"]: one for one in report["findings"]}
    assert report["ok"] and found["s3prl"]["value"].startswith("espnet-s3prl ")
    assert "{upstream: s3router_hubert_mini}" in found["upstream"]["value"] and "5.3 M" in found["upstream"]["value"]
    assert found["hub token"]["value"] == "there is one" and "hf_secret" not in printed


def test_an_upstream_that_does_not_load(capsys):
    assert main(["doctor", "--upstream", "wav2vec9"]) == 1
    printed = capsys.readouterr()
    assert "FAIL upstream: {upstream: wav2vec9}" in printed.out and "which s3prl does not know; near:" in printed.out
    assert "error: 1 of " in printed.err and "checks failed: upstream" in printed.err


def test_the_original_s3prl():
    for names in ([], ["s3prl"], ["s3prl", "espnet-s3prl"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(diagnosis, "version", lambda name: "1")
            found = diagnosis._s3prl(names)
        assert found.state == "error" and "pip install espnet-s3prl" in found.fix


def test_other_faults(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis.sys, "version_info", (3, 14, 0))
    assert "3.11, 3.12 or 3.13" in diagnosis._python().fix
    assert "pip install no-such-package" in diagnosis._package("no-such-package").fix
    monkeypatch.setattr(diagnosis, "FREE_GB", 10**9)
    assert diagnosis._disk(tmp_path).state == "warning"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file/below"))
    assert diagnosis._cache().state == "warning" and "Set HF_HOME" in diagnosis._cache().fix


def test_a_torchaudio_that_does_not_fit(monkeypatch, tmp_path):
    """As torchaudio 2.11.1 beside torch 2.12.1: it imports torch and then finds a symbol missing."""
    import sys

    assert diagnosis._torchaudio().state == "ok"
    message = "Could not load this library: libtorchaudio.so"
    (tmp_path / "torchaudio.py").write_text(f"raise OSError({message!r})", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchaudio")
    found = diagnosis._torchaudio()
    assert found.state == "error" and message in found.value and "pip install torchaudio==2.11.0" in found.fix


def test_gpus_that_are_hidden(monkeypatch):
    from espnet_s3router import devices

    monkeypatch.setattr(devices, "gpus", lambda: ["GPU 0: A (UUID: GPU-1)"])
    monkeypatch.setattr(devices, "has_other_driver", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    found = diagnosis._devices()
    assert found.state == "warning" and "CUDA_VISIBLE_DEVICES is '-1': unset it" in found.fix
