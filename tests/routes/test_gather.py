"""A folder of routes that a bank can read: one file for each language, all on one base."""

import pytest
from toy_routes import route, weights

from espnet_s3router.errors import InputError
from espnet_s3router.routes import gather, open_route, write_route


@pytest.fixture
def write(tmp_path):
    """write(name, language, **changes) -> path of a route file."""

    def make(name, language="nl", **changes):
        path = tmp_path / f"{name}.route"
        write_route(path, route(metadata={"language": language}, **changes), weights())
        return path

    return make


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_are_named_by_their_languages(write, tmp_path):
    files = [write("a", "nl"), write("b", "zh-Hant")]
    made = gather(files, tmp_path / "bank")
    assert made == [tmp_path / "bank/nl.route", tmp_path / "bank/zh-Hant.route"]
    assert names(tmp_path / "bank") == ["nl.route", "zh-Hant.route"]
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in files]


def test_a_route_of_the_same_language_is_replaced(write, tmp_path):
    gather([write("a"), write("b", "de")], tmp_path / "bank")
    other = write("c", tokens=[], tensors={})
    gather([other], tmp_path / "bank")
    assert names(tmp_path / "bank") == ["de.route", "nl.route"]
    assert open_route(tmp_path / "bank/nl.route").header["tokens"] == []


def test_a_name_of_ones_own(write, tmp_path):
    assert gather([write("a", language=None)], tmp_path, "phones") == [tmp_path / "phones.route"]


@pytest.mark.parametrize("language", [None, "", 7, "../nl", ".hidden", "a b"])
def test_a_language_that_is_no_file_name(write, tmp_path, language):
    with pytest.raises(InputError, match="its language is .*expected a word such as nl.*--language"):
        gather([write("a"), write("b", language)], tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_two_routes_of_one_language(write, tmp_path):
    with pytest.raises(InputError, match=r"a.route, .*b.route: all are named nl, expected one route for each language"):
        gather([write("a"), write("b")], tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_routes_on_different_bases(write, tmp_path):
    """Among the files, and beside those in the folder; the last route of another base may be replaced."""
    here, there = write("a", "nl"), write("b", "de", base="f" * 64)
    with pytest.raises(InputError, match=r"b.route and .*a.route belong to different bases"):
        gather([here, there], tmp_path / "bank")
    assert not (tmp_path / "bank").exists()
    gather([here], tmp_path / "bank")
    with pytest.raises(InputError, match=r"b.route and .*bank/nl.route belong to different bases"):
        gather([there], tmp_path / "bank")
    assert gather([there], tmp_path / "bank", "nl") == [tmp_path / "bank/nl.route"]


def test_a_broken_file_is_named_and_nothing_is_copied(write, tmp_path):
    path = write("b", "de")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="b.route: "):
        gather([write("a"), path], tmp_path / "bank")
    assert not (tmp_path / "bank").exists()
