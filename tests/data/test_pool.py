"""Data directories of several languages as one."""

import pytest

from espnet_s3router.data.__main__ import main
from espnet_s3router.data.data_dir import read_data_dir


@pytest.fixture
def languages(tmp_path):
    """Data directories of en (with a table of its own) and es."""
    for language, keys in (("en", ("a", "b")), ("es", ("c",))):
        folder = tmp_path / language
        folder.mkdir()
        for key in keys:
            (folder / f"{key}.wav").write_bytes(b"RIFF")
        tables = {"wav.scp": f"{{0}} {folder}/{{0}}.wav\n", "text": "{0} word {0}\n", "utt2spk": "{0} speaker\n"}
        tables |= {"utt2shared": "{0} x\n"} | ({"utt2own": "{0} y\n"} if language == "en" else {})
        for name, line in tables.items():
            (folder / name).write_text("".join(line.format(key) for key in keys), encoding="utf-8")
    return tmp_path


def test_tables_and_languages(languages, capsys):
    assert main(["pool", str(languages / "all"), f"en={languages}/en", f"es={languages}/es"]) == 0
    assert "en 2, es 1" in capsys.readouterr().out
    pooled = read_data_dir(languages / "all")
    assert pooled.text == {"a": "word a", "b": "word b", "c": "word c"}
    assert pooled.extras == {"utt2category": {"a": "en", "b": "en", "c": "es"}, "utt2shared": dict.fromkeys("abc", "x")}
    assert (languages / "all/spk2utt").read_text("utf-8") == "speaker a b c\n"


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["en={0}/en", "es={0}/en"], "both hold the utterance a"),
        (["en={0}/en", "en={0}/es"], "expected LANGUAGE=DIR once for each language"),
        (["{0}/en"], "expected LANGUAGE=DIR"),
        (["en={0}/absent"], "no such data directory"),
    ],
)
def test_sources_that_do_not_fit(languages, sources, message, capsys):
    assert main(["pool", str(languages / "all"), *(source.format(languages) for source in sources)]) == 1
    assert message in capsys.readouterr().err and not (languages / "all").exists()
