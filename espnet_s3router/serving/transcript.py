"""What is heard in a recording: words with their times."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from espnet_s3router.data.audio import load_mono, resample
from espnet_s3router.errors import InputError
from espnet_s3router.serving.search import Token, spelling

if TYPE_CHECKING:
    from espnet_s3router.serving.identify import Identified

RATE = 16000  # Hz
Audio = str | Path | Tensor


@dataclass(frozen=True)
class Word:
    """A recognised word (for phones: a phone). ``start`` and ``end`` are seconds; None after beam search."""

    text: str
    start: float | None
    end: float | None
    probability: float | None


@dataclass(frozen=True)
class Transcript:
    """The text of one recording."""

    text: str
    lang: str
    """Name of the route; empty for a model without routes."""
    words: list[Word]
    tokens: list[str]
    """Tokens of the model, as it recognised them."""
    identified: "Identified | None" = None
    """How the route was chosen, with ``lang="auto"``."""


def timed(word: Sequence[Token], seconds: float) -> Word:
    """A word with its times; ``seconds`` is the length of a frame."""
    first, last = word[0].first, word[-1].last
    if first is None or last is None:
        return Word(spelling(word), None, None, None)
    probability = sum(token.probability or 0.0 for token in word) / len(word)
    return Word(spelling(word), first * seconds, (last + 1) * seconds, probability)


def read_wave(audio: Audio) -> Tensor:
    """Samples (samples,) at 16 kHz of a file or a tensor."""
    if isinstance(audio, Tensor):
        if audio.dim() != 1 or not audio.is_floating_point() or not len(audio):
            raise InputError(f"the audio is {audio.dtype} {tuple(audio.shape)}, expected mono float samples (samples,)")
        if not torch.isfinite(audio).all():
            raise InputError("the audio holds NaN or infinity, expected finite samples")
        return audio
    sound = load_mono(audio)
    return torch.from_numpy(resample(sound.samples, sound.rate, RATE))
