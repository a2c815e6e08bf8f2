"""Agreement of clusters with phones."""

from pathlib import Path

import numpy as np
import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.pretraining.purity import agreement, frame_phones, labelled, read_phones
from espnet_s3router.pretraining.store import Store, Utterance


def test_agreement_of_known_cases():
    phones = np.repeat([0, 1, 2, 3], 25)
    perfect = agreement(3 - phones, phones)
    assert perfect == {"phone_purity": 1.0, "cluster_purity": 1.0, "pnmi": pytest.approx(1.0)}
    nothing = agreement(np.zeros(100, int), phones)
    assert nothing == {"phone_purity": 0.25, "cluster_purity": 1.0, "pnmi": pytest.approx(0.0)}
    halves = agreement(phones // 2, phones)  # two clusters, each of two phones: one bit of two
    assert halves["pnmi"] == pytest.approx(0.5) and halves["phone_purity"] == 0.5


@pytest.fixture
def label_file(tmp_path) -> Path:
    path = tmp_path / "one.lab"
    path.write_text("separator ;\nnfields 1\n#\n0.10000 125 pau\n0.30000 125 k\n0.50000 125 a\n")
    return path


def test_phones_are_those_at_the_centres_of_the_frames(label_file):
    utterance = Utterance("u", "c", "x/one.wav", 0, 9600, trimmed=1600)  # 0.1 s went at the beginning
    phones = frame_phones(utterance, label_file)
    assert len(phones) == 29
    assert phones[:10] == ["k"] * 10 and phones[11:19] == ["a"] * 8 and phones[-1] == "pau"


def test_recordings_are_found_by_their_file(label_file, tmp_path):
    known, other = Utterance("u", "c", "x/one.wav", 0, 9600, 0), Utterance("v", "c", "x/two.wav", 9600, 9600, 0)
    store = Store(np.zeros(19200, np.int16), (known, other), "")
    assert [u.name for u in labelled(store, tmp_path)[0]] == ["u"]
    with pytest.raises(InputError, match="no label file"):
        labelled(Store(store.audio, (other,), ""), tmp_path)
    label_file.write_text("nothing")
    with pytest.raises(InputError, match="no label file: expected"):
        read_phones(label_file)
