"""Files are replaced as a whole or not at all; locks, digests, YAML and commits."""

import hashlib
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from espnet_s3router import files
from espnet_s3router.errors import InputError
from espnet_s3router.files import digest, locked, own_command, put_in_place, read_yaml, replacing_dir, replacing_file
from espnet_s3router.text_format import clock, duration, scaled


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["grün\n", b"\x00\xff"])
def test_write_atomic_makes_folders_and_replaces(tmp_path, content):
    path = tmp_path / "a/b.txt"
    files.write_atomic(path, "old")
    files.write_atomic(path, content)
    assert path.read_bytes() == (content.encode("utf-8") if isinstance(content, str) else content)
    assert names(path.parent) == ["b.txt"]


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.tsv"
    files.write_atomic(path, "old")
    monkeypatch.setattr(files.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["results.tsv"]


def test_replacing_file_keeps_the_suffix_and_removes_half_a_file(tmp_path):
    path = tmp_path / "sound.flac"
    with replacing_file(path, sync=False) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".flac" and temporary.parent == tmp_path and not path.exists()
    with pytest.raises(RuntimeError), replacing_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "whole" and names(tmp_path) == ["sound.flac"]


def test_a_temporary_name_is_as_long_as_said(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "getpid", lambda: 4194304)  # the largest process id of Linux
    with replacing_file(tmp_path / "sound.flac") as temporary:
        temporary.touch()
        assert len(temporary.name) == len("sound.flac") + files.TEMPORARY_BYTES


def test_replacing_dir_keeps_the_old_directory_when_the_block_fails(tmp_path):
    path = tmp_path / "x"
    with replacing_dir(path) as new:
        (new / "f").write_text("old")
    with pytest.raises(RuntimeError), replacing_dir(path) as new:
        (new / "f").write_text("half")
        raise RuntimeError
    assert (path / "f").read_text() == "old" and names(tmp_path) == ["x"]


def test_replacing_dir_starts_empty_after_a_killed_process(tmp_path):
    stale = tmp_path / f".x.{os.getpid()}.tmp"
    stale.mkdir()
    (stale / "left").touch()
    with replacing_dir(tmp_path / "x") as new:
        (new / "f").touch()
    assert names(tmp_path / "x") == ["f"] and names(tmp_path) == ["x"]


def test_put_in_place_replaces_a_directory_and_its_files(tmp_path):
    for name, file in {"dump": "old", "partial": "new", "first": "only"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    put_in_place(tmp_path / "partial", tmp_path / "dump")
    put_in_place(tmp_path / "first", tmp_path / "other")  # nothing to replace
    assert names(tmp_path) == ["dump", "other"]
    assert names(tmp_path / "dump") == ["new"] and names(tmp_path / "other") == ["only"]


def test_links_stay_and_their_targets_are_replaced(tmp_path):
    """A user keeps a folder on another disk behind a link."""
    disk, home = tmp_path / "disk", tmp_path / "home"
    (disk / "train").mkdir(parents=True)
    (disk / "train" / "old").touch()
    (disk / "file").write_text("old")
    home.mkdir()
    for name in ("train", "file", "new"):  # new leads to nothing yet
        (home / name).symlink_to(disk / name)
    for name in ("train", "new"):
        with replacing_dir(home / name) as folder:
            assert folder.parent == disk
            (folder / "f").touch()
    files.write_atomic(home / "file", "new")
    assert names(home) == ["file", "new", "train"] and all(path.is_symlink() for path in home.iterdir())
    assert names(disk) == ["file", "new", "train"] and names(disk / "train") == names(disk / "new") == ["f"]
    assert (disk / "file").read_text() == "new"


def test_a_lock_makes_the_second_process_wait(tmp_path):
    inside = []

    def enter():
        with locked(tmp_path / "results.tsv"):
            inside.append("second")

    with ThreadPoolExecutor(1) as other:
        with locked(tmp_path / "results.tsv"):
            second = other.submit(enter)
            time.sleep(0.2)
            inside.append("first")
        second.result(60)
    assert inside == ["first", "second"]


def test_a_lock_that_does_not_wait(tmp_path):
    outside = pytest.raises(BlockingIOError)
    with locked(tmp_path / "a"), locked(tmp_path / "b", wait=False), outside, locked(tmp_path / "a", wait=False):
        pytest.fail("both are inside")
    with locked(tmp_path / "a", wait=False):
        pass


def test_digest_is_that_of_the_joined_contents(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    assert digest(tmp_path / "a", tmp_path / "b") == hashlib.sha256(b"ab").hexdigest()
    with pytest.raises(FileNotFoundError):
        digest(tmp_path / "none")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not YAML"),
        (b"\xff\xfe\xff", "is not YAML"),
        ("- a", "holds list, expected a mapping"),
        (None, "cannot be read"),
    ],
)
def test_yaml_that_is_no_mapping_is_refused(tmp_path, content, message):
    path = tmp_path / "conf.yaml"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=f"conf.yaml: {message}"):
        read_yaml(path)


def test_git_commit(tmp_path, monkeypatch):
    source = tmp_path / "files.py"
    source.write_text("one\n")
    pages = [tmp_path / "RESULTS.md", tmp_path / "asr1/RESULTS_mini.md", tmp_path / "asr1/results/rows.tsv"]
    for page in pages:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("one\n")
    monkeypatch.setattr(files, "__file__", str(source))
    assert files.git_commit() == "unknown"
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert head.startswith(files.git_commit())
    (tmp_path / "untracked").write_text("x")
    for page in pages:  # a recipe writes these files between two runs
        page.write_text("two\n")
    assert not files.git_commit().endswith("+dirty")
    source.write_text("two\n")
    assert files.git_commit().endswith("+dirty")
    monkeypatch.setenv("PATH", "")
    assert files.git_commit() == "unknown"


def test_the_command_of_a_report_names_no_folder_of_this_machine(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/home/me/espnet_s3router/results/page.py", "--dev", "dev en"])
    assert own_command("results.page") == "python -m espnet_s3router.results.page --dev 'dev en'"


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (75.2, "1m15s", "1 min 15 s"),
        (59.6, "1m00s", "1 min 00 s"),
        (3599.7, "1h00m", "1 h 00 min"),
        (7260, "2h01m", "2 h 01 min"),
    ],
)
def test_durations(seconds, short, long):
    assert (clock(seconds), duration(seconds)) == (short, long)


@pytest.mark.parametrize(("number", "expected"), [(999, "999 "), (1234, "1.23 k"), (94371840, "94.4 M"), (3e9, "3.00 G")])
def test_scaled_numbers(number, expected):
    assert scaled(number) == expected
