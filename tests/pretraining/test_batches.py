"""Batches: labels stay with their sound, and a batch depends only on the seed and the update."""

import numpy as np
import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.pretraining.batches import BatchConfig, Batches, at_speed, coloured_noise
from espnet_s3router.pretraining.features import frame_count, mfcc


@pytest.fixture
def batches(store, labels):
    return Batches(store, labels, BatchConfig(seconds=6.0, crop_seconds=1.5), seed=3)


def test_labels_belong_to_their_frames(labels, store):
    assert {u.name for u in store.utterances} == set(labels.by_name)
    for utterance in store.utterances[:5]:
        assert len(labels.of(utterance)) == frame_count(utterance.length) == len(mfcc(store.waveform(utterance)))


def test_batches_have_their_size_and_are_the_same_again(batches):
    for update in range(20):
        waveforms, targets = batches.batch(update)
        assert waveforms.dtype == np.float32 and targets.dtype == np.int64
        assert targets.shape == (len(waveforms), frame_count(waveforms.shape[1]))
        assert 3 * 16000 < waveforms.size < 9 * 16000
        again = batches.batch(update)
        assert np.array_equal(waveforms, again[0]) and np.array_equal(targets, again[1])
    assert not np.array_equal(batches.batch(0)[1], batches.batch(1)[1])


def test_every_recording_comes_about_equally_often(store, labels):
    drawn = Batches(store, labels, BatchConfig(seconds=4.0, crop_seconds=4.0), seed=0)
    counts: dict[str, int] = {}
    drawn._augmented = lambda u, rng: counts.update({u.name: counts.get(u.name, 0) + 1}) or (np.zeros(800), np.zeros(2))
    for update in range(3000):
        drawn.batch(update)
    training = [u for u in store.utterances if not u.held_out]
    assert set(counts) == {u.name for u in training}
    longest = [counts[u.name] for u in training if u.length > 24000]
    shortest = [counts[u.name] for u in training if u.length < 18000]
    assert np.mean(longest) / np.mean(shortest) == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_labels_move_with_the_speed(speed):
    """A click in the middle of a recording is in the frame whose label says so, whatever the speed."""
    waveform = np.zeros(32000, np.float32)
    waveform[16000] = 1.0
    labels = np.array([int(t * 320 <= 16000 < t * 320 + 400) for t in range(frame_count(len(waveform)))])
    changed, moved = at_speed(waveform, labels, speed)
    assert len(changed) == pytest.approx(len(waveform) / speed, abs=2)
    assert len(moved) == frame_count(len(changed))
    click = np.abs(changed).argmax()
    assert any(t * 320 - 160 <= click < t * 320 + 560 for t in np.flatnonzero(moved))


def test_noise_has_unit_variance_and_many_colours():
    rng = np.random.default_rng(0)
    made = [coloured_noise(16000, rng) for _ in range(10)]
    assert all(sound.std() == pytest.approx(1.0, abs=1e-3) for sound in made)
    slopes = [np.square(np.diff(sound)).mean() for sound in made]  # 2 for white noise, little for brown
    assert max(slopes) > 4 * min(slopes)


def test_held_out_recordings_are_never_trained_on(batches, store):
    names = {u.name for u in batches._training}
    assert names.isdisjoint(u.name for u in store.utterances if u.held_out)
    for waveforms, targets in batches.validation():
        assert len(waveforms) == len(targets) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("crop_seconds", 0.0), ("crop_seconds", 99.0), ("speeds", ()), ("speeds", (0.0,)), ("noise_prob", 2.0)],
)
def test_bad_options_are_refused(option, value):
    with pytest.raises(InputError, match=option):
        BatchConfig(**{option: value})
