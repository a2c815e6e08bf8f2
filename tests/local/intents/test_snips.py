"""SNIPS close field, from a tiny tree with the same layout."""

import pytest
from toy_intents import edit, write_snips

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import InputError
from local.intents.snips import main, part_of, prepare


@pytest.fixture
def root(tmp_path):
    return write_snips(tmp_path / "smart-lights-en-close-field")


def test_texts_keys_and_split_are_those_of_espnet(root, tmp_path, capsys):
    words = ["--root", str(root.parent), "--data_dir", str(tmp_path / "data"), "--held_out", "3"]
    assert main(words) == 0
    assert "found 12 recordings, published are 1660" in capsys.readouterr().err
    data = {part: read_data_dir(tmp_path / "data" / part) for part in ("train", "dev", "test")}
    keys = sorted(key for part in data.values() for key in part.wav)
    assert [sorted(data[part].wav) for part in ("dev", "test", "train")] == [keys[:3], keys[3:6], keys[6:]]
    texts = {key: text for part in data.values() for key, text in part.text.items()}
    assert texts["10000-0.wav"] == "SWITCHLIGHTON turn on the kitchen lights please"
    assert texts["10000-3.wav"] == "SETLIGHTCOLOR its time for red in the hall"
    assert data["dev"].utt2spk["10000-0.wav"] == "10000"


def test_whole_speakers(root, tmp_path):
    prepare(root, tmp_path / "data", split="speakers", held_out=4)
    speakers = [set(read_data_dir(tmp_path / f"data/{part}_speakers").utt2spk.values()) for part in ("train", "dev", "test")]
    assert [len(names) for names in speakers] == [1, 1, 1] and len(set.union(*speakers)) == 3
    with pytest.raises(InputError, match="12 utterances of 3 speakers leave none for training"):
        prepare(root, tmp_path / "none", split="speakers", held_out=5)


def test_the_published_sizes():
    keys = {f"{number % 69:02d}-{number}": str(number % 69) for number in range(1660)}
    parts = part_of(keys, "espnet", 166)
    assert [sorted(key for key in keys if parts[key] == part) for part in ("dev", "test")] == [
        sorted(keys)[:166],
        sorted(keys)[166:332],
    ]


def test_slots(root, tmp_path):
    prepare(root, tmp_path / "data", held_out=3, slots=True)
    texts = {
        k: t for part in ("train", "dev", "test") for k, t in read_data_dir(tmp_path / f"data/{part}_entities").text.items()
    }
    assert texts["10000-3.wav"] == ("SETLIGHTCOLOR SEP color FILL red SEP room FILL hall SEP its time for red in the hall")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "speech_corpus/audio/7.wav").unlink(), "audio/7.wav is missing"),
        (
            lambda root: edit(root / "speech_corpus/metadata.json", "Make it deep", "Make it very"),
            "does not hold the text 'Make it very",
        ),
        (
            lambda root: edit(root / "speech_corpus/metadata.json", '"filename": "1.wav"', '"filename": "0.wav"'),
            "occurs twice",
        ),
        (lambda root: edit(root / "dataset.json", '"language"', "language"), "dataset.json: is not JSON"),
        (lambda root: edit(root / "dataset.json", '"utterances"', '"texts"'), "dataset.json: lacks 'utterances'"),
        (lambda root: edit(root / "speech_corpus/metadata.json", '"worker"', '"person"'), "entry 0: lacks 'worker'"),
        (lambda root: (root / "speech_corpus/metadata.json").write_text("[]"), "has another form than published"),
        (lambda root: (root / "dataset.json").unlink(), "holds no dataset.json"),
    ],
)
def test_a_damaged_corpus_is_refused_before_anything_is_written(damage, message, root, tmp_path):
    damage(root)
    with pytest.raises(InputError, match=message):
        prepare(root, tmp_path / "data", held_out=3)
    assert not (tmp_path / "data").exists()


def test_a_text_with_two_intents(root, tmp_path):
    edit(
        root / "dataset.json",
        '"SetLightColor": {"utterances": [',
        '"SetLightColor": {"utterances": [{"data": [{"text": "Lights on in the bedroom"}]}, ',
    )
    with pytest.raises(InputError, match="'Lights on in the bedroom' has the intents SWITCHLIGHTON and SETLIGHTCOLOR"):
        prepare(root, tmp_path / "data", held_out=3)
