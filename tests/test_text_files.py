"""Lines and tables of text files."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_s3router.errors import InputError
from espnet_s3router.text_files import read_lines, read_table, read_text, write_table

keys = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)
values = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20).map(lambda text: text.strip(" "))


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
