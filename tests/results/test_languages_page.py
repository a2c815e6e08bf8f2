"""The page of several languages: tables, methods compared on all languages, and how often a language was found."""

import json

import pytest
from toy_points import add_point

from espnet_s3router.results.pages.languages import main
from espnet_s3router.results.rows import read_rows

LANGUAGES = ("en=dev_en,test_en", "es=dev_es,test_es")
ERRORS = {"finetune": {"en": (3, 4), "es": (4, 6)}, "lora": {"en": (5, 2), "es": (5, 2)}, "routing": {"en": (2, 3)}}
"""method -> language -> errors in ten characters on (dev, test). ``routing`` has one language only."""
IDENTIFIED = {
    **{"recordings": 3, "accuracy": 2 / 3, "judged": [{"utt": "a recording"}]},
    "confusion": [["language", "recordings", "en"], ["en", "3", "66.7"]],
    "by_duration": [["seconds", "recordings", "accuracy %"], ["0 to 2", "3", "66.7"]],
}


@pytest.fixture
def expdir(tmp_path):
    """The runs of ERRORS, and a second learning rate of lora in es: worse on dev, without an error on test."""
    folder = tmp_path / "exp"
    for method, by_language in ERRORS.items():
        for language, errors in by_language.items():
            add(folder, f"{method}_{language}", method, language, errors)
    add(folder, "lora_es_lr1", "lora", "es", (9, 0), variant="other", lr=1.0)
    return folder


def add(folder, name, method, language, errors, **changes):
    about = {"split": f"train_{language}", "sets": (f"dev_{language}", f"test_{language}"), "variant": method}
    about |= {"sparsity": 0.1} if method == "routing" else {}
    add_point(folder, name, method, errors, **about | changes)


@pytest.fixture
def call(expdir, capsys):
    """call(*words) -> (status, stdout, stderr) of the command."""

    def run(*words, languages=LANGUAGES):
        return main([*languages, "--expdir", str(expdir), *map(str, words)]), *capsys.readouterr()

    return run


def test_table(call, expdir, tmp_path):
    """Variants are chosen on dev. The mean and the bytes of all languages are those of methods that all languages have."""
    status, printed, _ = call("--results_md", tmp_path / "RESULTS.md")
    assert status == 0
    rows = [line.split() for line in printed.splitlines() if line.split() and line.split()[0] in ERRORS]
    assert rows[0][:5] == ["finetune", "–", "40.0", "60.0", "50.0"]
    assert rows[1][:5] == ["lora", "–", "20.0*", "20.0*", "20.0"]
    assert rows[2][:6] == ["routing", "0.1", "30.0", "–", "–", "–"]
    assert rows[0][5:7] == rows[1][5:7] != ["–", "1"]
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "|lora|–|20.0*|20.0*|20.0|" in text and "lora vs finetune: -60.0 % relative CER" in text
    assert "(all languages)" in text and "routing vs" not in text
    assert {row.split for row in read_rows(expdir / "results.tsv")} == {"train_en", "train_es"}


def test_languages_that_were_found(call, tmp_path):
    (tmp_path / "found.json").write_text(json.dumps(IDENTIFIED), encoding="utf-8")
    status, printed, _ = call("--identified", tmp_path / "found.json", "--results_md", tmp_path / "RESULTS.md")
    assert status == 0 and "accuracy: 0.6667" in printed and "a recording" not in printed
    assert "|en|3|66.7|" in (tmp_path / "RESULTS.md").read_text("utf-8")


def test_several_decodings(call, expdir, tmp_path):
    """One is named; without a name the message asks for it."""
    for folder in list(expdir.glob("*/*/*/counts.json")):
        other = folder.parents[2] / "beam" / folder.parent.name
        other.mkdir(parents=True)
        (other / "counts.json").write_bytes(folder.read_bytes())
    assert "give an inference tag" in call()[2]
    assert call("--inference_tag", "beam")[0] == 0


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        (("en=dev_en,test_en", "fr=dev_fr,test_fr"), "no run is scored on all of test_en, test_fr. Train these languages"),
        (("en=dev_en,test_en", "en=dev_es,test_es"), "the languages are en en, expected each of them once"),
        (("en=dev_en", "es=dev_es,test_es"), "a language is 'en=dev_en', expected LANG=DEV,TEST"),
    ],
)
def test_languages_that_cannot_be(call, languages, message):
    status, printed, error = call(languages=languages)
    assert status == 1 and printed == "" and message in error


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is not JSON"), ("[]", "lacks confusion"), ("{}", "lacks confusion")]
)
def test_a_file_of_another_command(call, tmp_path, content, message):
    (tmp_path / "found.json").write_text(content, encoding="utf-8")
    status, printed, error = call("--identified", tmp_path / "found.json")
    assert status == 1 and printed == "" and f"found.json: {message}" in error and "s3router identify --json" in error
