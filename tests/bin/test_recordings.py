"""Recordings that ESPnet would decode at a wrong rate are refused before a model is loaded (espnet#3086)."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_s3router.bin.recordings import check_recordings
from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.text_files import write_table

FS = 16000


@pytest.fixture
def scp(tmp_path: Path) -> Path:
    """Three good recordings."""
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.random.default_rng(0).standard_normal(FS), FS)
    write_table(tmp_path / "wav.scp", {name: tmp_path / f"{name}.wav" for name in ("a", "b", "c")})
    return tmp_path / "wav.scp"


def check(scp: Path, key_file: Path | None = None, config: Path | None = None) -> None:
    check_recordings([(str(scp), "speech", "sound")], key_file and str(key_file), config and str(config))


@pytest.mark.parametrize(
    ("rate", "shape", "message"),
    [
        (44100, FS, "'b': {}/b.wav has 44100 Hz and 1 channel(s)"),
        (8000, FS, "'b': {}/b.wav has 8000 Hz and 1 channel(s)"),
        (FS, (FS, 8), "'b': {}/b.wav has 16000 Hz and 8 channel(s)"),
        (FS, 0, "'b': {}/b.wav holds no samples"),
    ],
)
def test_recordings_that_the_model_does_not_take(scp: Path, rate: int, shape: int, message: str) -> None:
    check(scp)
    soundfile.write(scp.with_name("b.wav"), np.zeros(shape), rate)
    with pytest.raises(InputError, match="Expected mono audio of 16000 Hz") as caught:
        check(scp)
    assert message.format(scp.parent) in str(caught.value)
    keys = scp.with_name("keys")
    keys.write_text("a a\nc c\n")
    check(scp, keys)  # b is not decoded
    check_recordings([(str(scp), "speech", "npy")], None, None)


def test_the_rate_is_that_of_the_model(scp: Path) -> None:
    config = scp.with_name("config.yaml")
    config.write_text("frontend_conf: {fs: 8k}\n")
    with pytest.raises(InputError, match="Expected mono audio of 8000 Hz"):
        check(scp, config=config)
    config.write_text("frontend_conf: {fs: 16k}\n")
    check(scp, config=config)


@pytest.mark.parametrize(
    ("content", "keys", "message"),
    [
        ("a a.wav\nb none.wav\n", "", "'b': none.wav cannot be read as audio"),
        ("a cat a.wav |\n", "", "'a': cat a.wav | cannot be read as audio"),
        ("a\n", "", "'a': no path"),
        ("\ufeffa a.wav\n", "", "byte order mark"),
        ("\na a.wav\n", "", "line 1: the line is blank"),
        ("a a.wav\na a.wav\n", "", "the key 'a' occurs twice"),
        ("a a.wav\n", "a\nz\n", "nothing for 'z'"),
        ("a a.wav\nb b.wav\n", "b\na\n", "another order"),
    ],
)
def test_tables_that_espnet_cannot_follow(scp: Path, monkeypatch, content: str, keys: str, message: str) -> None:
    monkeypatch.chdir(scp.parent)
    scp.write_text(content, encoding="utf-8")
    Path("keys").write_text(keys)
    with pytest.raises(InputError) as caught:
        check(scp, Path("keys") if keys else None)
    assert message in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # ESPnet's own import
@pytest.mark.parametrize("task", ["asr", "slu"])
def test_commands_check_before_they_load_a_model(scp: Path, monkeypatch, capsys, task: str) -> None:
    soundfile.write(scp.with_name("b.wav"), np.zeros(FS), 44100)
    (scp.with_name("config.yaml")).write_text("frontend: masked_upstream\n")
    words = [f"--{task}_train_config", scp.with_name("config.yaml"), f"--{task}_model_file", "none.pth"]
    words += ["--output_dir", scp.with_name("out"), "--data_path_and_name_and_type", f"{scp},speech,sound"]
    monkeypatch.setattr(sys, "argv", [f"{task}_inference", *map(str, words)])
    assert exit_status(importlib.import_module(f"espnet_s3router.bin.{task}_inference").main)() == 1
    assert "b.wav has 44100 Hz" in capsys.readouterr().err
    assert not scp.with_name("out").exists()
