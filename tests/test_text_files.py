"""Lines and tables of text files."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_s3router.errors import InputError
from espnet_s3router.text_files import read_lines, read_symbols, read_table, read_text, write_table

keys = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20).map(str.strip)


@settings(max_examples=50)
@given(st.dictionaries(keys, values, min_size=1))
def test_any_table_reads_back_in_c_order(tmp_path_factory, table: dict[str, str]) -> None:
    path = tmp_path_factory.mktemp("table") / "text"
    write_table(path, table)
    problems: list[str] = []
    assert read_table(path, problems) == table
    lines = path.read_bytes().split(b"\n")[:-1]
    assert [line.split(b" ")[0] for line in lines] == sorted(line.split(b" ")[0] for line in lines)
    assert problems == []


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\u2028b\n\n c \n", encoding="utf-8")
    assert read_lines(path) == ["a\u2028b", "", " c "]
    path.write_text("")
    assert read_lines(path) == []
    with pytest.raises(InputError, match=r"none: cannot be read \(No such file or directory\). Expected a list"):
        read_lines(tmp_path / "none", expected="a list")
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_lines(path)


def test_tables_differ_in_what_they_allow(tmp_path: Path) -> None:
    """Tables of a data directory skip blank lines and need entries; a text to score is the opposite."""
    path = tmp_path / "text"
    path.write_bytes("\ufeffu1\ta  b\r\n\nu2\n".encode())
    problems: list[str] = []
    assert read_table(path, problems) == {"u1": "a  b", "u2": ""}
    assert problems == []
    with pytest.raises(InputError, match="text line 2: the line is blank"):
        read_text(path)
    path.write_text("u1  a  b \n")
    assert read_text(path) == {"u1": "a b"}
    path.write_text("")
    assert read_text(path) == {}
    read_table(path, problems)
    assert problems == ["text: no entries"]


@pytest.mark.filterwarnings("ignore")  # ESPnet's own import
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("u1 a\n", ""),
        ("u1\t a  b\tc \t\r\nu2\n", ""),
        ("u1\u00a0a\n", "U+00A0 (no-break space)"),
        ("u1 a\u3000\n", "U+3000 (ideographic space)"),
        ("\u2003u1 a\n", "U+2003 (em space)"),
        ("u1 a\rb\n", "U+000D (control character)"),
        ("u1 a\0b\n", "U+0000 (control character)"),
        ("\u00a0\n", "U+00A0 (no-break space)"),
    ],
)
def test_a_table_is_read_as_espnet_reads_it_or_refused(tmp_path: Path, content: str, fault: str) -> None:
    from espnet2.fileio.read_text import read_2columns_text

    path = tmp_path / "wav.scp"
    path.write_bytes(content.encode())
    problems: list[str] = []
    table = read_table(path, problems)
    if fault:
        assert f"wav.scp line 1: {next(iter(table))!r} holds {fault}" in problems[0]
    else:
        assert (read_2columns_text(path), problems) == (table, [])


def test_words_are_separated_by_plain_spaces(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("u1 a  b\tc\nu2 d\u00a0e\nu3 f\u2028g\n", encoding="utf-8")
    problems: list[str] = []
    assert read_table(path, problems, words=True)["u1"] == "a b c"
    assert [p.split(":")[0] for p in problems] == ["text line 2", "text line 3"]
    assert "'u2' holds U+00A0 (no-break space): use plain spaces" in problems[0]


@pytest.mark.filterwarnings("ignore")
def test_symbols_are_those_of_espnet(tmp_path: Path) -> None:
    """espnet#1614: the same file makes tokens, trains, and is left out by scoring."""
    from espnet2.text.char_tokenizer import CharTokenizer

    path = tmp_path / "symbols"
    path.write_bytes("<noise>\r\n<unk> \r\n[laugh]\u3000\n<noise>\n".encode())
    assert read_symbols(path) == ["<noise>", "<unk>", "[laugh]"]
    assert CharTokenizer(path).non_linguistic_symbols == set(read_symbols(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\ufeff<noise>\n", "a byte order mark"),
        ("<noise>\n\n<s>\n", "line 2: the line is blank"),
        ("<big noise>\n", "'<big noise>' holds white space"),
        (" <noise>\n", "' <noise>' holds white space"),
        ("<noise>\r<s>\n", "holds white space"),
        ("<blank>\n", "'<blank>' is a token of ESPnet with another meaning"),
        ("<space>\n", "'<space>' is a token of ESPnet with another meaning"),
        ("<n>\n<n>oise\n", "'<n>' begins '<n>oise': ESPnet may take either"),
    ],
)
def test_symbols_that_have_two_meanings_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "symbols").write_bytes(content.encode())
    with pytest.raises(InputError, match="symbols: .*problem") as caught:
        read_symbols(tmp_path / "symbols")
    assert message in str(caught.value)
