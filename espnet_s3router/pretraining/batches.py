"""Batches of pretraining: recordings of similar length, augmented and cut to the shortest.

A batch depends only on the seed and the update, so an interrupted run continues with the same batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from espnet_s3router.data.audio import change_speed
from espnet_s3router.errors import InputError
from espnet_s3router.pretraining.clusters import Labels
from espnet_s3router.pretraining.features import FIELD, STRIDE, frame_count
from espnet_s3router.pretraining.recordings import FS
from espnet_s3router.pretraining.store import HELD_OUT_ONE_IN, Store, Utterance

NEIGHBOURS = 3  # a batch is drawn from this many times its size of recordings next in length
VALIDATION_BATCHES = 12


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """Options that make a batch."""

    seconds: float = 32.0
    """Audio of one update, in seconds."""
    crop_seconds: float = 10.0
    """Maximum length of a recording, in seconds. A random part of a longer one is taken."""
    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Factors of speed perturbation, one drawn for each recording (Ko et al. 2015)."""
    noise_prob: float = 0.5
    """Share of recordings with added noise of a random colour."""
    snr_db: tuple[float, float] = (5.0, 30.0)
    """Range of the signal-to-noise ratio, in dB."""

    def __post_init__(self) -> None:
        if not 0 < self.crop_seconds <= self.seconds:
            raise InputError(
                f"crop_seconds is {self.crop_seconds}, expected more than 0 and at most seconds ({self.seconds})"
            )
        if not self.speeds or min(self.speeds) <= 0:
            raise InputError(f"speeds is {self.speeds}, expected factors above 0, for example [0.9, 1.0, 1.1]")
        if not 0 <= self.noise_prob <= 1:
            raise InputError(f"noise_prob is {self.noise_prob}, expected a share in [0, 1]")


class Batches:
    """Makes batches: waveforms (batch, samples) float32 and labels (batch, frames) int64."""

    def __init__(self, store: Store, labels: Labels, config: BatchConfig, seed: int) -> None:
        self.store, self.labels, self.config, self.seed = store, labels, config, seed
        by_length = sorted(store.utterances, key=lambda utterance: (utterance.length, utterance.name))
        self._training = [utterance for utterance in by_length if not utterance.held_out]
        self._held_out = [utterance for utterance in by_length if utterance.held_out]
        if not self._training or not self._held_out:
            raise InputError(f"{len(by_length)} recordings are too few: one in {HELD_OUT_ONE_IN} is held out for validation")
        self._lengths = np.array([min(u.length, int(config.crop_seconds * FS)) for u in self._training])
        # A batch of long recordings holds fewer of them. Drawn in proportion to length, all recordings are equally frequent.
        self._cumulative = np.cumsum(self._lengths / self._lengths.sum())

    def batch(self, update: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch of one update: random recordings of similar length."""
        rng = np.random.default_rng((self.seed, update))
        anchor = min(int(np.searchsorted(self._cumulative, rng.random())), len(self._training) - 1)
        count = max(1, round(self.config.seconds * FS / self._lengths[anchor]))
        low = max(0, min(anchor - NEIGHBOURS * count // 2, len(self._training) - NEIGHBOURS * count))
        window = self._training[low : low + NEIGHBOURS * count]
        chosen = [window[index] for index in rng.choice(len(window), min(count, len(window)), replace=False)]
        return collate([self._augmented(utterance, rng) for utterance in chosen], rng)

    def validation(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return unchanged recordings of the validation set, as VALIDATION_BATCHES batches of similar length."""
        crop = int(self.config.crop_seconds * FS)
        batches = []
        indices = np.arange(len(self._held_out))
        for number, group in enumerate(np.array_split(indices, min(VALIDATION_BATCHES, len(indices)))):
            rng = np.random.default_rng((self.seed, number))
            count = max(1, int(self.config.seconds * FS / min(crop, self._held_out[group[0]].length)))
            chosen = [self._held_out[index] for index in group[:count]]
            pieces = [(self.store.waveform(u)[:crop], self.labels.of(u)[: frame_count(crop)]) for u in chosen]
            batches.append(collate(pieces, rng))
        return batches

    def _augmented(self, utterance: Utterance, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return a recording with its labels, at a random speed and with noise."""
        waveform, labels = self.store.waveform(utterance), self.labels.of(utterance)
        longest = int(self.config.crop_seconds * FS * max(self.config.speeds))
        if len(waveform) > longest:  # cut at whole frames, so that labels keep their places
            first = int(rng.integers((len(waveform) - longest) // STRIDE + 1))
            waveform = waveform[first * STRIDE : first * STRIDE + longest]
            labels = labels[first : first + frame_count(longest)]
        speed = float(rng.choice(self.config.speeds))
        waveform, labels = at_speed(waveform, labels, speed)
        if rng.random() < self.config.noise_prob:
            waveform = waveform + coloured_noise(len(waveform), rng) * 10 ** (-rng.uniform(*self.config.snr_db) / 20)
        return waveform, labels


def at_speed(waveform: np.ndarray, labels: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """Play (samples,) ``speed`` times as fast, and give each new frame the label of the sound at its centre."""
    if speed == 1.0:
        return waveform, labels
    changed = change_speed(waveform, speed)
    centres = (np.arange(frame_count(len(changed))) * STRIDE + FIELD / 2) * speed  # in samples of ``waveform``
    source = np.rint((centres - FIELD / 2) / STRIDE).astype(int)
    return changed, labels[np.clip(source, 0, len(labels) - 1)]


def coloured_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise (samples,) float32 of unit variance between white and brown, by a filter with one random pole."""
    coloured = lfilter([1.0], [1.0, -rng.uniform(0.0, 0.98)], rng.standard_normal(samples, dtype=np.float32))
    return (coloured / coloured.std()).astype(np.float32)


def collate(pieces: Sequence[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut all waveforms to the shortest at random places and normalise each. There is no padding."""
    shortest = min(len(waveform) for waveform, _ in pieces)
    frames = frame_count(shortest)
    waveforms = np.empty((len(pieces), shortest), np.float32)
    labels = np.empty((len(pieces), frames), np.int64)
    for row, (waveform, frame_labels) in enumerate(pieces):
        first = int(rng.integers((len(waveform) - shortest) // STRIDE + 1))
        cut = waveform[first * STRIDE : first * STRIDE + shortest]
        waveforms[row] = (cut - cut.mean()) / np.sqrt(cut.var() + 1e-7)
        labels[row] = frame_labels[first : first + frames]
    return waveforms, labels
