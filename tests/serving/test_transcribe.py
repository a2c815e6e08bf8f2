"""``s3router transcribe`` on toy routes."""

import json

from espnet_s3router.cli.main import main
from espnet_s3router.serving import Router


def call(bank, capsys, *words, status=0):
    audio = [str(bank.parent / f"{number}.wav") for number in (0, 1)]
    assert main(["transcribe", "--bank", str(bank), *words, *audio]) == status
    return capsys.readouterr(), audio


def test_texts_and_broken_files(bank, capsys):
    printed, audio = call(bank, capsys, "--lang", "nl")
    router = Router.from_dir(bank)
    assert printed.out == "".join(f"{path}\tnl\t{router.transcribe(path, 'nl').text}\n" for path in audio)
    assert "left out:" in printed.err and "ru.route: is truncated or no route file" in printed.err


def test_json_and_times(bank, capsys):
    printed, audio = call(bank, capsys, "--lang", "auto", "--json", "--window", "2")
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["file"] for line in lines] == audio
    for line in lines:
        assert line["lang"] in ("nl", "es") and 0 <= line["confidence"] <= 1
        assert line["text"] == " ".join(word["text"] for word in line["words"])
    printed, _ = call(bank, capsys, "--lang", "es", "--timestamps")
    times = [line.split("\t") for line in printed.out.splitlines() if not line.startswith(str(bank.parent))]
    assert times and all(float(start) < float(end) for start, end, _ in times)


def test_an_unknown_language_is_reported_before_any_recording_is_read(bank, capsys):
    printed, _ = call(bank, capsys, "--lang", "fr", status=1)
    assert printed.out == "" and "there is no route 'fr', expected one of es, nl" in printed.err
