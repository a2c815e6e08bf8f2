"""Batches of pretraining: recordings of like length, cut to the shortest, changed a little, and never the same twice.

Everything follows from (seed, update), so a run that was interrupted goes on with the batches it would have had.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from espnet_s3router.data.audio import change_speed
from espnet_s3router.errors import InputError
from espnet_s3router.pretraining.clusters import Labels
from espnet_s3router.pretraining.features import FIELD, STRIDE, frame_count
from espnet_s3router.pretraining.store import FS, HELD_OUT, Store, Utterance

NEIGHBOURS = 3  # a batch is drawn from so many times its size


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How batches are made."""

    seconds: float = 32.0
    """Audio of one update, in seconds."""
    crop_seconds: float = 10.0
    """Longest piece of a recording."""
    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Speed perturbation, one drawn per recording (Ko et al. 2015)."""
    noise_prob: float = 0.5
    """Recordings that get noise of a random colour."""
    snr_db: tuple[float, float] = (5.0, 30.0)
    """Range of the speech's level above it."""

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
    """``batch(update)`` -> waveforms (batch, samples) float32 and labels (batch, frames) int64."""

    def __init__(self, store: Store, labels: Labels, config: BatchConfig, seed: int) -> None:
        self.store, self.labels, self.config, self.seed = store, labels, config, seed
        by_length = sorted(store.utterances, key=lambda utterance: (utterance.length, utterance.name))
        self._by_length = [utterance for utterance in by_length if not utterance.held_out]
        self._held_out = [utterance for utterance in by_length if utterance.held_out]
        if not self._by_length or not self._held_out:
            raise InputError(f"{len(by_length)} recordings are too few: one in {HELD_OUT} is held out to measure on")
        self._pieces = np.array([min(u.length, int(config.crop_seconds * FS)) for u in self._by_length])
        # A batch holds the fewer recordings the longer they are: drawn by length, every recording comes equally often.
        self._cumulative = np.cumsum(self._pieces / self._pieces.sum())

    @property
    def held_out_count(self) -> int:
        """Recordings that are not trained on."""
        return len(self._held_out)

    def batch(self, update: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch of one update: recordings of like length, drawn at random."""
        rng = np.random.default_rng((self.seed, update))
        anchor = min(int(np.searchsorted(self._cumulative, rng.random())), len(self._by_length) - 1)
        count = max(1, round(self.config.seconds * FS / self._pieces[anchor]))
        low = max(0, min(anchor - NEIGHBOURS * count // 2, len(self._by_length) - NEIGHBOURS * count))
        window = self._by_length[low : low + NEIGHBOURS * count]
        chosen = [window[index] for index in rng.choice(len(window), min(count, len(window)), replace=False)]
        return collate([self._changed(utterance, rng) for utterance in chosen], rng)

    def held_out(self, share: int, of: int) -> tuple[np.ndarray, np.ndarray]:
        """Recordings that are not trained on, unchanged: the ``share``-th of ``of`` groups of like length."""
        group = np.array_split(np.arange(len(self._held_out)), of)[share]
        rng = np.random.default_rng((self.seed, share))
        crop = int(self.config.crop_seconds * FS)
        count = max(1, int(self.config.seconds * FS / min(crop, self._held_out[group[0]].length)))
        chosen = [self._held_out[index] for index in group[:count]]
        return collate([(self.store.waveform(u)[:crop], self.labels.of(u)[: frame_count(crop)]) for u in chosen], rng)

    def _changed(self, utterance: Utterance, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A recording with its labels, at another speed and with noise."""
        waveform, labels = self.store.waveform(utterance), self.labels.of(utterance)
        most = int(self.config.crop_seconds * FS * max(self.config.speeds))
        if len(waveform) > most:  # whole frames, so that labels stay where they are
            first = int(rng.integers((len(waveform) - most) // STRIDE + 1))
            waveform = waveform[first * STRIDE : first * STRIDE + most]
            labels = labels[first : first + frame_count(most)]
        speed = float(rng.choice(self.config.speeds))
        waveform, labels = at_speed(waveform, labels, speed)
        if rng.random() < self.config.noise_prob:
            waveform = waveform + noise(len(waveform), rng) * 10 ** (-rng.uniform(*self.config.snr_db) / 20)
        return waveform, labels


def at_speed(waveform: np.ndarray, labels: np.ndarray, speed: float) -> tuple[np.ndarray, np.ndarray]:
    """(samples,) and (frames,) played ``speed`` times as fast, each frame with the label at its centre."""
    if speed == 1.0:
        return waveform, labels
    changed = change_speed(waveform, speed)
    centres = (np.arange(frame_count(len(changed))) * STRIDE + FIELD / 2) * speed
    source = np.rint((centres - FIELD / 2) / STRIDE).astype(int)
    return changed, labels[np.clip(source, 0, len(labels) - 1)]


def noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """(samples,) float32 of unit variance, between white and brown: first-order filtered with a random pole."""
    coloured = lfilter([1.0], [1.0, -rng.uniform(0.0, 0.98)], rng.standard_normal(samples, dtype=np.float32))
    return (coloured / coloured.std()).astype(np.float32)


def collate(pieces: Sequence[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut all to the shortest, at random places, and normalise; no padding."""
    shortest = min(len(waveform) for waveform, _ in pieces)
    frames = frame_count(shortest)
    waveforms = np.empty((len(pieces), shortest), np.float32)
    labels = np.empty((len(pieces), frames), np.int64)
    for row, (waveform, own) in enumerate(pieces):
        first = int(rng.integers((len(waveform) - shortest) // STRIDE + 1))
        cut = waveform[first * STRIDE : first * STRIDE + shortest]
        waveforms[row] = (cut - cut.mean()) / np.sqrt(cut.var() + 1e-7)
        labels[row] = own[first : first + frames]
    return waveforms, labels
