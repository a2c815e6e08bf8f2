"""The Asterisk corpus: its committed split, its texts, and the preparation of a tiny corpus with the same layout."""

import gzip
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from toy_audio import encode

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError
from local import debian, downloads, recordings
from local.asterisk import download as asterisk_download
from local.asterisk.__main__ import main
from local.asterisk.download import VOICES, download, find_source
from local.asterisk.prepare import prepare
from local.asterisk.split import PARTS, SPLITS, checked_lists, part_of, read_lists
from local.asterisk.texts import read_texts
from local.hash_order import first_minutes, key_hash
from local.text import NORMALISERS

COUNTS = {
    "en": (373, 80, 98),
    "es": (304, 77, 96),
    "fr": (333, 66, 110),
    "it": (370, 98, 108),
    "ru": (357, 90, 106),
}
LISTING = """\ufeff; a comment

activated: Activated.
digits/1: one
digits/2: two
digits/2: twelve
vm-goodbye: Goodbye!
vm-goodbye2: Goodbye
letters/at: at [@]
beep: a beep
silence/1: (1 second of silence)
tt-monkeys: [sound of monkeys screaming]
no-recording: This was never recorded.
too-short: a
"""


def write_recording(path: Path, seconds: float, seed: int) -> None:
    pcm = (3000 * np.random.default_rng(seed).standard_normal(int(16000 * seconds))).astype(np.int16)
    encode(path, pcm, 16000)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tiny corpus in the layout of the packages: recordings for most keys of LISTING."""
    root = tmp_path / "tree"
    doc = root / "usr/share/doc/asterisk-core-sounds-en"
    doc.mkdir(parents=True)
    (doc / "core-sounds-en.txt.gz").write_bytes(gzip.compress(LISTING.encode()))
    (doc / "copyright").write_text("CC-BY-SA-3.0")
    sounds = root / "usr/share/asterisk/sounds" / VOICES["en"]
    keys = [
        "activated",
        "digits/1",
        "digits/2",
        "vm-goodbye",
        "vm-goodbye2",
        "letters/at",
        "beep",
        "tt-monkeys",
    ]
    for seed, key in enumerate(keys):
        write_recording(sounds / f"{key}.g722", 1.0, seed)
    write_recording(sounds / "too-short.g722", 0.2, 9)
    return root


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """The table of the tiny corpus by the rule: test letters/at; dev beep, vm-goodbye2; train the rest."""
    keys = ["activated", "digits/1", "digits/2", "vm-goodbye", "vm-goodbye2", "letters/at", "beep"]
    path = tmp_path / "splits.tsv"
    path.write_text("lang\tpart\tkey\n" + "".join(f"en\t{part_of('en', key)}\t{key}\n" for key in keys))
    return path


def test_hash_of_known_keys() -> None:
    assert key_hash("en", "vm-goodbye") == 0x94F947F6CB9C019FA2F5C7B7CDD4DC0D
    assert [part_of("en", key) for key in ("vm-goodbye", "agent-alreadyon", "call-fwd-on-busy")] == [
        "train",
        "dev",
        "test",
    ]
    assert key_hash("it", "letters/O") != key_hash("it", "letters/o")  # case is kept


def test_the_committed_table_holds_the_languages_of_the_corpus() -> None:
    rows = SPLITS.read_text(encoding="utf-8").splitlines()[1:]
    assert {row.split("\t")[0] for row in rows} == set(VOICES) == set(COUNTS)
    assert len(rows) == len(set(rows)) == sum(map(sum, COUNTS.values()))


@pytest.mark.parametrize("lang", COUNTS)
def test_committed_lists(lang: str) -> None:
    lists = read_lists(lang)
    assert tuple(len(lists[part]) for part in PARTS) == COUNTS[lang]
    keys = [key for part in PARTS for key in lists[part]]
    assert len(set(keys)) == len(keys)
    assert checked_lists(lang, keys) == lists
    assert all(lists[part] == sorted(lists[part]) for part in PARTS)


def test_altered_lists_are_refused(splits: Path) -> None:
    keys = [key for part in read_lists("en", splits).values() for key in part]
    with pytest.raises(InputError, match="'digits/1' is listed, but has no text"):
        checked_lists("en", set(keys) - {"digits/1"}, splits)
    with pytest.raises(InputError, match="'new' has text and recording, but is not listed"):
        checked_lists("en", [*keys, "new"], splits)
    wrong = next(part for part in PARTS if part != part_of("en", "moved"))
    with splits.open("a") as file:
        file.write(f"en\t{wrong}\tmoved\n")
    with pytest.raises(InputError, match="the rule puts it into"):
        checked_lists("en", [*keys, "moved"], splits)
    splits.write_text("en\ttrain\tactivated\n")
    with pytest.raises(InputError, match="holds other columns than lang, part, key"):
        checked_lists("en", keys, splits)
    splits.unlink()
    with pytest.raises(InputError, match="splits.tsv: cannot be read"):
        checked_lists("en", keys, splits)


@given(st.dictionaries(st.text("abc/-", min_size=1), st.floats(0.3, 60)), st.floats(0.1, 10))
def test_first_minutes_is_the_longest_prefix(seconds: dict[str, float], minutes: float) -> None:
    chosen = first_minutes("en", seconds, minutes, seconds.__getitem__)
    order = sorted(seconds, key=lambda key: key_hash("en", key))
    assert chosen == order[: len(chosen)]
    assert sum(seconds[key] for key in chosen) <= 60 * minutes
    if len(chosen) < len(order):
        assert sum(seconds[key] for key in order[: len(chosen) + 1]) > 60 * minutes


def test_read_texts(tmp_path: Path) -> None:
    path = tmp_path / "core-sounds-en.txt"
    path.write_text(LISTING, encoding="utf-8")
    texts = read_texts(path, "en")
    assert texts["digits/2"] == "two"
    assert texts["letters/at"] == "at [@]"
    assert not {"silence/1", "tt-monkeys", "; a comment"} & texts.keys()
    path.write_bytes("vm-x: caf\xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_texts(path, "en")
    path.write_text("no colon here\n")
    with pytest.raises(InputError, match="line 1"):
        read_texts(path, "en")
    path.write_text("conf-full: La conferenza ? piena.\n")
    assert read_texts(path, "it") == {"conf-full": "La conferenza è piena."}


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("en", "Dial 2, don\u2019t press #!  (really)", "dial two don't press pound"),
        ("en", "H.323 at 28.8; extension 1234, 3D", "h three two three at twenty eight point eight "
         "extension one two three four three d"),
        ("en", "exclaimation-point [!]", "exclaimation point"),
        ("es", "Marque 4 o 6; ma\u006e\u0303ana", "marque cuatro o seis mañana"),
        ("fr", "L'aide : appuyez sur # ou * 2 fois, s\u0153ur",
         "l'aide appuyez sur dièse ou étoile deux fois soeur"),
        ("it", "E' in uso. C\u2019è 1 [suo] po' d'acqua", "è in uso c'è uno po d'acqua"),
        ("ru", "Нажмите 7 для «Q», решётку, первoe", "нажмите семь для q решетку первое"),
    ],
)  # fmt: skip
def test_normalisers(lang: str, text: str, expected: str) -> None:
    assert NORMALISERS[lang](text) == expected


@pytest.mark.parametrize("lang", NORMALISERS)
@given(st.text(max_size=60))
def test_normalised_text_is_clean_and_stays(lang: str, text: str) -> None:
    once = NORMALISERS[lang](text)
    assert once == " ".join(once.split()) == NORMALISERS[lang](once)
    assert not set(once) & set('0123456789.,;:!?()[]<>#*"_')


def test_prepare(tree: Path, splits: Path, tmp_path: Path) -> None:
    data, audio = tmp_path / "data", tmp_path / "dl"
    options = {"data_dir": data, "download_dir": audio, "sounds_dir": tree, "splits": splits}
    counts = prepare("en", minutes=10, **options)
    assert sorted(counts) == ["dev_en", "test_en", "train_10min_en", "train_en"]
    assert sum(counts[f"{part}_en"][0] for part in PARTS) == 6  # beep is listed, but no speech
    everything = {}
    for part in PARTS:
        read = read_data_dir(data / f"{part}_en")
        assert all(soundfile.info(path).samplerate == 16000 for path in read.wav.values())
        everything.update(read.text)
    assert everything["en-digits__2"] == "two"
    assert everything["en-letters__at"] == "at"
    assert (audio / "en_flac/LICENCES/asterisk-core-sounds-en.copyright").read_text() == "CC-BY-SA-3.0"
    assert (data / "train_en/LICENCE").read_text() == "CC-BY-SA-3.0"  # models trained on these recordings carry it
    train = read_data_dir(data / "train_en").text
    for part in ("dev", "test"):
        texts = read_data_dir(data / f"{part}_en").text
        unseen = (data / f"{part}_en/utt_unseen").read_text().split()
        assert unseen == [utt for utt in sorted(texts) if texts[utt] not in train.values()]
    before = {path: path.stat().st_mtime_ns for path in audio.rglob("*.flac")}
    assert prepare("en", minutes=10, **options) == counts
    assert before == {path: path.stat().st_mtime_ns for path in audio.rglob("*.flac")}
    assert prepare("en", minutes=0.02, **options)["train_0.02min_en"] == (1, pytest.approx(1.0))


def test_prepare_refuses_before_writing(tree: Path, splits: Path, tmp_path: Path) -> None:
    options = {"data_dir": tmp_path / "data", "download_dir": tmp_path / "dl", "splits": splits}
    with pytest.raises(InputError, match="expected one of"):
        prepare("xx", sounds_dir=tree, **options)
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="expected one list and a folder"):
        prepare("en", sounds_dir=tmp_path / "bare", **options)
    next(tree.rglob("activated.g722")).unlink()
    with pytest.raises(InputError, match="'activated' is listed, but has no text or no recording"):
        prepare("en", sounds_dir=tree, **options)
    (tmp_path / "dl/en").mkdir(parents=True)
    tree.rename(tmp_path / "dl/en/usr")  # another version, marked as complete
    (tmp_path / "dl/en" / downloads.DONE).touch()
    with pytest.raises(
        InputError, match=f"(?s)'activated' is listed.*What was downloaded is in {tmp_path}/dl/en: remove it"
    ):
        prepare("en", **options)
    assert not (tmp_path / "data").exists()
    arguments = ["--sounds_dir", str(tmp_path / "bare"), "--data_dir", str(tmp_path / "data")]
    assert main(arguments) == 1


def test_find_source_in_a_flat_archive(tree: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    next(tree.rglob("vm-goodbye.g722")).rename(flat / "vm-goodbye.g722")
    (flat / "core-sounds-en.txt").write_text(LISTING, encoding="utf-8")
    assert find_source(flat, "en").sounds == flat


def test_download_marks_complete_folders(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(lang: str, folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("no network")

    for name in ("fetch_packages", "fetch_tarball"):
        monkeypatch.setattr(asterisk_download, name, offline)
    with pytest.raises(InputError, match=r"(?s)no network.*--sounds_dir"):
        download("en", tmp_path / "dl")
    assert list((tmp_path / "dl").iterdir()) == []

    def fetch(lang: str, folder: Path) -> None:
        tree.rename(folder / "usr")

    monkeypatch.setattr(asterisk_download, "fetch_packages", fetch)
    got = download("en", tmp_path / "dl")
    assert find_source(got, "en").seconds("digits/1") == pytest.approx(1.0)
    monkeypatch.setattr(asterisk_download, "fetch_packages", offline)
    assert download("en", tmp_path / "dl") == got


def test_apt_falls_back_to_private_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def apt(command: list[str], **options: object) -> None:
        calls.append(command)
        if len(calls) == 1:
            raise subprocess.CalledProcessError(100, command, stderr="Unable to locate package")

    monkeypatch.setattr(debian.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(debian.subprocess, "run", apt)
    asterisk_download.fetch_packages("en", tmp_path)
    assert [next(word for word in ("update", "download") if word in c) for c in calls] == [
        "download",
        "update",
        "download",
    ]
    assert any(word.startswith(f"Dir::State::lists={tmp_path}") for word in calls[1])
    assert not (tmp_path / "apt").exists()


def test_what_is_there(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--check_corpus`` looks for the files that the preparation reads, and writes nothing."""
    words = ["--data_dir", str(tmp_path / "data"), "--download_dir", str(tmp_path / "got"), "--check_corpus", "--lang", "en"]
    assert main([*words, "--sounds_dir", str(tree)]) == 0
    assert f"en: texts in {tree}/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz" in capsys.readouterr().out
    assert main([*words, "--sounds_dir", str(tmp_path / "tree/usr/share/doc")]) == 1
    assert "expected one list and a folder" in capsys.readouterr().err
    downloads.make_once(tmp_path / "got/en", lambda folder: "somewhere")
    assert main([*words, "es"]) == 0
    expected = [f"en: {tmp_path}/got/en is downloaded", f"es: not in {tmp_path}/got/es yet, stage 1 downloads it"]
    assert capsys.readouterr().out.splitlines() == expected
    assert recordings.main([*words[:5], "--corpora", "festvox_ru"]) == 0
    assert capsys.readouterr().out == f"festvox_ru: not in {tmp_path}/got/festvox-ru yet, stage 1 downloads it\n"
    assert not (tmp_path / "data").exists() and [path.name for path in (tmp_path / "got").iterdir()] == ["en"]
