"""Common Voice, from tiny trees in the layouts of its releases, and whatever can be wrong in them."""

import hashlib
import json
import shutil

import pytest
from toy_commonvoice import COLUMNS, SIZES, V5, V17, V25, edit, hexadecimal, write_language, write_table

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.text_files import read_table
from local.commonvoice.__main__ import main
from local.commonvoice.text import characters

CLIP = "common_voice_es_{}".format
TRAIN = [CLIP(number) for number in range(101, 107)]
DEV, TEST = [CLIP(107), CLIP(108)], [CLIP(109), CLIP(110)]


@pytest.fixture
def release(tmp_path):
    """The Spanish part of release 17."""
    return write_language(tmp_path, "es")


@pytest.fixture
def run(tmp_path, capsys):
    """run(root, *words) -> (exit status, stdout, stderr) of the command for Spanish."""

    def call(root, *words, lang="es"):
        words = ["--root", root, "--lang", lang, "--data_dir", tmp_path / "data", *words]
        status = main(list(map(str, words)))
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def refused(run, tmp_path):
    """refused(root, *words) -> the error of the command, which wrote nothing."""

    def call(root, *words, **options):
        status, _, printed = run(root, *words, **options)
        notices, found, error = printed.partition("error: ")
        assert status == 1 and found and all(line.startswith("notice: ") for line in notices.splitlines())
        assert not (tmp_path / "data").exists()
        return error

    return call


def read(tmp_path, name):
    return read_data_dir(tmp_path / "data" / name)


@pytest.mark.parametrize("layout", [V5, V17, V25])
def test_layouts(tmp_path, run, layout):
    status, printed, _ = run(write_language(tmp_path, "es", layout))
    assert status == 0
    train = read(tmp_path, "train_60min_es")
    assert set(train.text) == set(TRAIN)
    assert train.text[CLIP(101)] == "el niño come pan" and train.text[CLIP(103)] == "qué hora es"
    assert train.utt2spk[CLIP(101)] == hexadecimal("speaker 101")
    assert set(read(tmp_path, "dev_es").text) == set(DEV) and set(read(tmp_path, "test_es").text) == set(TEST)
    record = read_table(tmp_path / "data/train_60min_es/corpus.txt", [])
    assert record["release"] == layout and record["language"] == "es" and record["clips"] == "6"
    assert 5.5 < float(record["seconds"]) < 7
    assert f"{layout}" in printed and "train_60min_es: 6 clips, 6 speakers" in printed


def test_what_is_there(release, tmp_path, run):
    """``--check_corpus`` looks for the folder and the tables, and writes nothing."""
    table = tmp_path / "list.txt"
    table.write_text(CLIP(107), encoding="utf-8")
    status, printed, _ = run(release, "--check_corpus")
    assert status == 0 and printed == f"es: {V17} with train.tsv, dev.tsv, test.tsv is in {release}/es; characters\n"
    (release / "es/dev.tsv").unlink()
    status, _, error = run(release, "--check_corpus")
    assert status == 1 and "dev.tsv: no such table" in error
    absent = tmp_path / "absent.txt"
    for words in (("--dev_list", absent), ("--dev_list", table, "--units", "phones", "--phone_labels", absent)):
        status, _, error = run(release, "--check_corpus", *words)
        assert status == 1 and str(absent) in error
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf"])
def test_minutes(release, refused, minutes):
    assert f"got minutes {float(minutes):g}, dev_minutes 60; expected more than 0" in refused(release, "--minutes", minutes)
    if minutes != "0":
        assert f"got minutes 60, dev_minutes {float(minutes):g}" in refused(release, "--dev_minutes", minutes)


def test_columns_in_any_order(release, tmp_path, run):
    """Such as the alphabet's in release 5.0; with the line ends of Windows, and a byte order mark."""
    table = release / "es/train.tsv"
    header, *lines = [line.split("\t") for line in table.read_text("utf-8").splitlines()]
    order = sorted(range(len(header)), key=lambda at: header[at])
    text = "".join("\t".join(row[at] for at in order) + "\r\n" for row in [header, *lines])
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert run(release)[0] == 0
    assert read(tmp_path, "train_60min_es").text[CLIP(101)] == "el niño come pan"


def test_the_training_set_is_the_first_minutes_by_hash(release, tmp_path, run):
    seconds = {name: int(ms) / 1000 for name, ms in durations_of(release / "es").items() if name in TRAIN}
    order = sorted(TRAIN, key=lambda name: hashlib.md5(f"es/{name}".encode()).hexdigest())
    expected, total = [], 0.0
    for name in order:
        total += seconds[name]
        if total > 3:
            break
        expected.append(name)
    assert 1 < len(expected) < len(TRAIN)
    status, _, notices = run(release, "--minutes", 0.05)
    assert status == 0 and notices == ""
    assert set(read(tmp_path, "train_0.05min_es").text) == set(expected)


def durations_of(folder):
    rows = [line.split("\t") for line in (folder / "clip_durations.tsv").read_text("utf-8").splitlines()[1:]]
    return {name.removesuffix(".mp3"): ms for name, ms in rows}


def test_dev_minutes(release, tmp_path, run):
    assert run(release, "--dev_minutes", 0.02)[0] == 0
    assert len(read(tmp_path, "dev_es").text) == 1
    assert run(release, "--dev_minutes", 0)[0] == 0
    assert "seconds" not in read_table(tmp_path / "data/dev_es/corpus.txt", [])


def test_too_little_speech_is_said_with_its_amount(release, run):
    assert "notice: train_60min_es has 0.1 of 60 minutes: train.tsv holds no more" in run(release)[2]


def test_durations_are_listed_or_measured(tmp_path, run):
    """Without the table, without a clip in it, and with a duration of 0, the audio is measured: the same clips are drawn."""
    release = write_language(tmp_path, "es")
    table = release / "es/clip_durations.tsv"
    drawn = {}
    for case in ("listed", "one is 0", "one is missing", "no table"):
        if case == "one is 0":
            edit(table, durations_of(release / "es")[CLIP(101)], "0", 1)
        if case == "one is missing":
            lines = table.read_text("utf-8").splitlines(keepends=True)
            table.write_text("".join(line for line in lines if CLIP(101) not in line), encoding="utf-8")
        if case == "no table":
            table.unlink()
        status, _, notices = run(release, "--minutes", 0.09)
        drawn[case] = set(read(tmp_path, "train_0.09min_es").text)
        assert status == 0
        assert ("durations were measured" in notices) == (
            case == "no table" or (case != "listed" and CLIP(101) in drawn[case])
        )
    assert len(set(map(frozenset, drawn.values()))) == 1


def test_a_release_is_recorded(release, tmp_path, run, refused):
    moved = release.rename(tmp_path / "spanish")
    assert "the name does not tell the release" in (error := refused(moved)) and "--release" in error
    assert run(moved, "--release", "cv-corpus-17.0")[0] == 0
    assert read_table(tmp_path / "data/test_es/corpus.txt", [])["release"] == "cv-corpus-17.0"


def test_what_was_used_can_be_pinned(release, tmp_path, run):
    """clips.txt of a dataset makes the same dataset again, from whichever table has the clips now."""
    assert run(release, "--minutes", 0.05)[0] == 0
    before = {name: read(tmp_path, name) for name in ("train_0.05min_es", "dev_es", "test_es")}
    lists = shutil.copytree(tmp_path / "data", tmp_path / "lists")
    for table in ("train", "dev", "test"):
        (release / f"es/{table}.tsv").unlink()
    words = []
    for split, name in zip(("train", "dev", "test"), before, strict=True):
        words += [f"--{split}_list", lists / name / "clips.txt"]
    assert run(release, "--minutes", 0.05, *words)[0] == 0
    assert {name: read(tmp_path, name) for name in before} == before
    assert read_table(tmp_path / "data/test_es/corpus.txt", [])["selection"] == "clips.txt"


@pytest.mark.parametrize(
    "form", ["common_voice_es_{}", "common_voice_es_{}.mp3", "{}", "es/clips/common_voice_es_{}.mp3 1 2"]
)
def test_forms_of_lists(release, tmp_path, run, form):
    (tmp_path / "es_list").write_text("".join(form.format(number) + "\n" for number in (103, 101)) + "\n")
    assert run(release, "--train_list", tmp_path / "{lang}_list")[0] == 0
    assert set(read(tmp_path, "train_60min_es").text) == {CLIP(101), CLIP(103)}


def test_lists_that_do_not_fit(release, tmp_path, run, refused):
    names = tmp_path / "list"
    names.write_text(f"{CLIP(101)}\n{CLIP(101)}\n{CLIP(999)}\n")
    error = refused(release, "--train_list", names)
    assert f"{CLIP(101)} occurs twice" in error and f"no table of {release}/es has {CLIP(999)}" in error
    names.write_text("\n")
    assert "names no clip" in refused(release, "--train_list", names)
    assert "cannot be read" in refused(release, "--train_list", tmp_path / "absent")
    assert "cannot be filled in" in refused(release, "--train_list", "{language")
    names.write_text(f"{CLIP(101)}\n{CLIP(999)}\n")
    status, _, notices = run(release, "--train_list", names, "--on_bad", "drop")
    assert status == 0 and "1 clip(s) left out" in notices and CLIP(999) in notices


def test_speakers_stay_in_one_dataset(release, tmp_path, run, refused):
    for number, other in ((101, 107), (108, 109)):
        for table in ("train", "dev", "test", "validated"):
            path = release / f"es/{table}.tsv"
            path.write_text(
                path.read_text("utf-8").replace(hexadecimal(f"speaker {number}"), hexadecimal(f"speaker {other}"))
            )
    error = refused(release)
    assert f"speaker {hexadecimal('speaker 107')[:16]} reads {CLIP(101)} of train and {CLIP(107)} of dev" in error
    assert f"{CLIP(108)} of dev and {CLIP(109)} of test" in error and "--shared_speakers drop" in error
    status, _, notices = run(release, "--shared_speakers", "drop")
    assert status == 0
    assert "notice: train_60min_es: 1 of 6 clips have a speaker of test or dev and are left out" in notices
    assert "notice: dev_es: 1 of 2 clips have a speaker of test and are left out" in notices
    assert set(read(tmp_path, "train_60min_es").text) == set(TRAIN) - {CLIP(101)}
    assert set(read(tmp_path, "dev_es").text) == {CLIP(107)} and set(read(tmp_path, "test_es").text) == set(TEST)


def test_no_speaker_is_left(release, tmp_path, refused):
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in DEV), encoding="utf-8")
    error = refused(release, "--train_list", tmp_path / "list.txt", "--shared_speakers", "drop")
    assert "train_60min_es: 2 of 2 clips have a speaker of test or dev, so none is left" in error


def test_dropped_speakers_make_room_for_others(release, tmp_path, run):
    """The draw goes on to the next clip in the order."""
    order = sorted(TRAIN, key=lambda name: hashlib.md5(f"es/{name}".encode()).hexdigest())
    first = order[0].rpartition("_")[2]
    edit(release / "es/train.tsv", hexadecimal(f"speaker {first}"), hexadecimal("speaker 109"))
    assert run(release, "--minutes", 0.04, "--shared_speakers", "drop")[0] == 0
    assert set(read(tmp_path, "train_0.04min_es").text) == set(order[1:3])


def test_a_tab_or_a_quote_in_a_sentence(release, tmp_path, run):
    """Tables have no quoting: a quote belongs to the sentence, and a tab in a sentence has a backslash before it."""
    edit(release / "es/train.tsv", "El niño come pan.", '"El niño\\\tcome pan', 1)
    edit(release / "es/test.tsv", "Vive en Perú.", "C:\\Vive en Perú\\", 1)
    assert run(release)[0] == 0
    assert read(tmp_path, "train_60min_es").text[CLIP(101)] == "el niño come pan"
    assert read(tmp_path, "test_es").text[CLIP(109)] == "c vive en perú"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "El niño come pan.",
            '"El niño\tcome pan."',
            ["train.tsv line 2: 14 cells, the first line has 13", "a tab between quotes"],
        ),
        ("El niño come pan.", "", [f"train.tsv line 2: no sentence ({CLIP(101)})"]),
        ("El niño come pan.", "…?!", [f"train.tsv line 2: nothing to read in '…?!' ({CLIP(101)})"]),
        (f"{CLIP(102)}.mp3", f"{CLIP(101)}.mp3", [f"train.tsv line 3: the clip {CLIP(101)} occurs twice"]),
        (hexadecimal("speaker 101"), "", [f"train.tsv line 2: no client_id ({CLIP(101)})"]),
        (f"{CLIP(101)}.mp3", "", ["train.tsv line 2: no path (nameless clip)"]),
    ],
)
def test_faulty_lines(release, run, refused, tmp_path, old, new, expected):
    edit(release / "es/train.tsv", old, new, 1)
    error = refused(release)
    assert all(words in error for words in [*expected, f"{release}/es/train.tsv: 1 problem(s)", "--on_bad drop"])
    status, _, notices = run(release, "--on_bad", "drop")
    assert status == 0 and expected[0] in notices
    assert len(read(tmp_path, "train_60min_es").text) == len(TRAIN) - 1


def test_identifiers_in_place_of_sentences(release, refused):
    """The column sentence_id under the name of the other."""
    edit(release / "es/dev.tsv", "sentence_id\tsentence\t", "sentence\tsentence_id\t")
    error = refused(release)
    assert "es/dev.tsv: 2 of 2 values of the column sentence are identifiers" in error
    assert hexadecimal("«Buenas noches», dijo Ana.", 64)[:16] in error or "restore it from the archive" in error


def test_missing_columns(release, refused):
    edit(release / "es/train.tsv", "\tsentence\t", "\ttext\t")
    error = refused(release)
    assert "no column sentence in the first line" in error and "'text'" in error
    (release / "es/train.tsv").write_text("")
    assert "no column client_id, path, sentence" in refused(release)


def test_missing_clips(release, run, refused, tmp_path):
    for number in (102, 109):
        (release / f"es/clips/{CLIP(number)}.mp3").unlink()
    error = refused(release)
    assert f"test.tsv line 2: no {release}/es/clips/{CLIP(109)}.mp3" in error and "Unpack the archive" in error
    status, _, notices = run(release, "--on_bad", "drop")
    assert status == 0 and notices.count("1 clip(s) left out") == 2
    assert set(read(tmp_path, "test_es").text) == {CLIP(110)}
    assert set(read(tmp_path, "train_60min_es").text) == set(TRAIN) - {CLIP(102)}


def test_many_missing_clips_are_counted(release, refused):
    shutil.rmtree(release / "es/clips")
    write_table(release / "es/test.tsv", COLUMNS[V17], [
        {"client_id": f"s{n}", "path": f"{CLIP(n)}.mp3", "sentence": "Hola"} for n in range(500, 515)
    ])  # fmt: skip
    assert "15 problem(s)" in (error := refused(release)) and "… and 5 more" in error


def test_damaged_durations(release, refused):
    table = release / "es/clip_durations.tsv"
    edit(table, durations_of(release / "es")[CLIP(101)], "a second", 1)
    assert "clip_durations.tsv line 2: 'a second' is no number of milliseconds" in refused(release)
    edit(table, "duration[ms]", "length")
    assert "no column duration[ms]" in refused(release)


@pytest.mark.parametrize(("form", "header"), [("filename", "filename"), ("path", "path")])
def test_other_names_of_the_clip_column(release, run, form, header):
    edit(release / "es/clip_durations.tsv", "clip\t", f"{header}\t", 1)
    assert "measured" not in run(release)[2]


def test_a_delta_release(tmp_path, refused):
    release = write_language(tmp_path, "es", V25, {"other": 1})
    delta = release.rename(release.with_name("cv-corpus-25.0-delta-2026-03-09"))
    error = refused(delta)
    assert f"{delta}/es/test.tsv: no such table" in error and "delta release" in error and "--train_list" in error


def test_an_empty_split(release, refused):
    write_table(release / "es/dev.tsv", COLUMNS[V17], [])
    assert f"{release}/es/dev.tsv: holds no clips" in (error := refused(release)) and "--dev_list" in error


def test_folders_of_another_level(release, tmp_path, refused):
    assert "the folder of one language, or a part of it; expected the unpacked release" in (error := refused(release / "es"))
    assert f"Give {release}" in error
    assert f"Give {release}" in refused(release / "es/clips")
    assert f"Give one of {release}" in refused(tmp_path)
    assert f"{release}: no folder 'it', there is es;" in refused(release, lang="it")
    assert "no such folder" in refused(tmp_path / "absent")


def test_options_that_contradict_each_other(release, tmp_path, refused):
    assert "expected more than 0" in refused(release, "--minutes", 0)
    assert "--units phones" in refused(release, "--phone_labels", tmp_path / "labels")
    assert "no clip is left" in refused(release, "--minutes", 0.001)


# --- phones


@pytest.fixture
def labels(tmp_path):
    """Labels in the form of CPC_audio's splits, with the names of the phones beside them."""
    folder = tmp_path / "splits/es"
    folder.mkdir(parents=True)
    (folder / "validated_phones_reduced.txt").write_text("".join(f"{name} 0 2 1 \n" for name in [*TRAIN, *DEV, *TEST]))
    (folder / "phonesMatches_reduced.json").write_text(json.dumps({"a": 0, "tʃ": 1, "ɲ": 2}))
    return folder / "validated_phones_reduced.txt"


def test_phones_of_a_file(release, tmp_path, run, labels):
    template = str(labels).replace("/es/", "/{language}/")
    assert run(release, "--units", "phones", "--phone_labels", template)[0] == 0
    assert set(read(tmp_path, "train_60min_es_phn").text.values()) == {"a ɲ tʃ"}
    record = read_table(tmp_path / "data/test_es_phn/corpus.txt", [])
    assert record["units"] == "phones of validated_phones_reduced.txt"
    labels.with_name("phonesMatches_reduced.json").unlink()
    assert run(release, "--units", "phones", "--phone_labels", labels)[0] == 0
    assert set(read(tmp_path, "test_es_phn").text.values()) == {"0 2 1"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ('{"a": 0, "tʃ": 1}', "phonesMatches_reduced.json has no phone of number 2"),
        ('["a"]', "Expected a JSON object: phone -> number"),
        ("{", "Expected a JSON object"),
        ('{"a": 0, "t ʃ": 1, "ɲ": 2}', "the phone 't ʃ' is empty or holds a space"),
    ],
)
def test_names_of_phones_that_do_not_fit(release, refused, labels, names, expected):
    labels.with_name("phonesMatches_reduced.json").write_text(names)
    assert expected in refused(release, "--units", "phones", "--phone_labels", labels)


def test_clips_without_labels(release, run, refused, labels):
    edit(labels, f"{CLIP(109)} 0 2 1 \n", "")
    words = ("--units", "phones", "--phone_labels", labels)
    assert f"no phones for {CLIP(109)}" in refused(release, *words)
    status, _, notices = run(release, *words, "--on_bad", "drop")
    assert status == 0 and CLIP(109) in notices


def test_labels_that_cannot_be_read(release, tmp_path, refused, labels):
    labels.write_text("")
    assert "no entries" in refused(release, "--units", "phones", "--phone_labels", labels)
    assert "cannot be read" in refused(release, "--units", "phones", "--phone_labels", tmp_path / "absent")


# --- characters


@pytest.mark.parametrize(
    ("lang", "sentence", "expected"),
    [
        ("en", "Don’t “shout”, it's 7 o'clock!", "don't shout it's seven o'clock"),
        ("es", "¿Que\u0301 tal?", "qué tal"),  # a combining accent
        ("fr", "L’été, c’est « fini » !", "l'été c'est fini"),
        ("fr", "Une SŒUR de 21 ans.", "une soeur de vingt et un ans"),
        ("it", "C'è un po' d'acqua", "c'è un po d'acqua"),
        ("ky", "Мен 5-класста окуйм. Өмүр ӨҢҮ", "мен 5 класста окуйм өмүр өңү"),
        ("nl", "'s Ochtends, zo'n 3 foto's", "s ochtends zo'n drie foto's"),
        ("ru", "Ёлка — «всё»!", "елка все"),
        ("sv-SE", "Är det 2 öar?", "är det två öar"),
        ("tr", "IŞIK İçinde Ankara'da", "ışık içinde ankara'da"),
        ("tt", "Әйе, җиңү ҺӘМ", "әйе җиңү һәм"),
        ("zh-TW", "我 喜歡 KTV，你呢？", "我喜歡ktv你呢"),
        ("zh-TW", "他 用 iPhone Pro 拍照", "他用iphone pro拍照"),
        ("de", "Straße-Ämter …", "straße ämter"),
        ("hi", "नमस्ते।", "नमस्ते"),
        ("es", "…¿?", ""),
        ("en", "In 1,000 years, 12 or 3,4", "in one thousand years twelve or three four"),
        ("es", "Cuesta 12.000 euros, 1.2 más", "cuesta doce mil euros uno dos más"),
        ("fr", "2\u202f000 ans 4 000", "deux mille ans quatre zéro"),
        ("es", "el 1.2.2020.300", "el uno dos dos mil veinte trescientos"),
        ("en", "co\u00adoperate\u200b now", "cooperate now"),
    ],
)
def test_characters(lang, sentence, expected):
    assert characters(sentence, lang) == expected


def test_the_toy_releases_are_as_large_as_this_test_assumes():
    assert sum(SIZES[split] for split in ("train", "dev", "test")) == len([*TRAIN, *DEV, *TEST])
