"""``Router``: the text of recordings in many languages, with one base and a bank of routes."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.mean_pooling import MeanPooling
from espnet_s3router.routes.route import OUTPUT
from espnet_s3router.serving.bank import AUTO, NO_ROUTE, Bank
from espnet_s3router.serving.identify import Identified, by_entropy, rank_by_gradient
from espnet_s3router.serving.search import BEAM_OPTIONS, beam_tokens, best_path_tokens, words_of
from espnet_s3router.serving.transcript import RATE, Audio, Transcript, Word, read_wave, timed
from espnet_s3router.serving.windows import Windows, frames_in_windows, mean_of_pieces

INTENTS = "intents"
"""Key in the decoding options of a route: true if its texts begin with an intent."""


class Models(Protocol):
    """Where a router gets its models: a ``Bank``, or one model alone."""

    @property
    def names(self) -> list[str]:
        """Names of the models."""

    def config(self, name: str) -> Mapping[str, Any]:
        """ESPnet's configuration of a model, with ``decoding``. Raises InputError for an unknown name."""

    def task(self, name: str) -> str:
        """Task of a model: asr or slu."""

    def tokens(self, name: str) -> list[str]:
        """The token list of a model."""

    def using(self, name: str) -> AbstractContextManager[Any]:
        """The model, for one thread at a time."""


class Router:
    """Transcribes recordings with the routes of a bank. Threads may share one.

    Args:
        bank: the routes, or one model.
        window_s: seconds of audio that the model sees at a time; longer recordings are cut into windows.
        overlap_s: seconds that two windows share.
        candidates: with ``lang="auto"``, the largest number of routes that are run. Of more routes, a single gradient
            chooses these.
    """

    def __init__(self, bank: Models, *, window_s: float = 20.0, overlap_s: float = 2.0, candidates: int = 8) -> None:
        if not 0.1 <= overlap_s <= window_s / 2 < math.inf:
            raise InputError(f"overlap_s is {overlap_s} with window_s {window_s}, expected 0.1 to half of a window")
        if candidates < 1:
            raise InputError(f"candidates is {candidates}, expected at least 1 route")
        self.bank = bank
        self._candidates = candidates
        self._window_s, self._overlap_s = window_s, overlap_s

    @classmethod
    def from_dir(cls, folder: str | Path, source: Mapping[str, Any] | None = None, **options: Any) -> "Router":
        """A router over all ``*.route`` files of a folder; arguments and errors of ``Bank.from_dir``."""
        return cls(Bank.from_dir(folder, source), **options)

    def transcribe(self, audio: Audio, lang: str = AUTO) -> Transcript:
        """The text of a file, or of samples (samples,) at 16 kHz.

        ``lang`` is the name of a route, or ``auto``. Raises InputError for an unknown name, and BadAudio for a file that
        cannot be read.
        """
        return self.transcribe_many([audio], [lang])[0]

    def transcribe_many(self, audios: Sequence[Audio], langs: Sequence[str]) -> list[Transcript]:
        """The texts of recordings with a route each, in the given order.

        Recordings are run one after the other, those of one route together, so the base changes once for each route. Each is
        encoded alone, in a batch of one: padding beside longer ones would change the outputs of many upstreams.
        """
        if len(audios) != len(langs):
            raise InputError(f"got {len(audios)} recordings and {len(langs)} languages, expected a language for each")
        for lang in langs:
            if lang != AUTO:
                self.bank.config(lang)
        waves = [read_wave(audio) for audio in audios]
        identified = [self.identify(wave) if lang == AUTO else None for wave, lang in zip(waves, langs)]
        names = [lang if found is None else found.name for lang, found in zip(langs, identified)]
        texts: dict[int, Transcript] = {}
        for index in sorted(range(len(waves)), key=lambda index: names[index]):
            words, tokens = self._words(names[index], waves[index])
            text = " ".join(word.text for word in words)
            texts[index] = Transcript(text, names[index], words, tokens, identified[index])
        return [texts[index] for index in range(len(waves))]

    def identify(self, audio: Audio) -> Identified:
        """The routes of the bank for a recording, the surest first. Long recordings are judged by their first window.

        Routes of ``left_out`` do not take part. Raises InputError if no other is there.
        """
        wave = read_wave(audio)[: int(self._window_s * RATE)]
        if not isinstance(self.bank, Bank):
            return by_entropy(self.bank.names, wave, self.log_probs)
        with self.bank.lock:  # no route is dropped meanwhile
            if not self.bank.names:
                raise InputError(NO_ROUTE)
            left_out = self.left_out()
            names = [name for name in self.bank.names if name not in left_out]
            if not names:
                reasons = ", ".join(f"{name} {reason}" for name, reason in left_out.items())
                raise InputError(f"{AUTO} can choose no route: {reasons}. Name one of them")
            if len(names) > self._candidates:
                names = rank_by_gradient(self.bank, names, wave)[: self._candidates]
            return by_entropy(names, wave, self.log_probs)

    def left_out(self) -> dict[str, str]:
        """Routes of a bank that ``auto`` never chooses, with the reason: their outputs are not comparable."""
        if not isinstance(self.bank, Bank):
            return {}
        reasons = {name: "gives intents" for name in self.bank.names if understands(self.bank, name)}
        no_ctc = {name: "has no CTC head" for name in self.bank.names if OUTPUT[0] not in self.bank.file(name).tensors}
        return no_ctc | reasons

    @torch.no_grad()
    def log_probs(self, name: str, wave: Tensor) -> Tensor:
        """Log probabilities (frames, tokens) of the CTC head of a route for ``wave`` (samples,)."""
        with self.bank.using(name) as model:
            if getattr(model, "ctc", None) is None:
                raise InputError(f"route {name!r} has no CTC head, so its outputs cannot be compared. Name a language")
            return model.ctc.log_softmax(self._encode(model, wave)[0][None])[0]

    @torch.no_grad()
    def hidden(self, name: str, wave: Tensor) -> Tensor:
        """Output (frames, dim) of the encoder of a route for ``wave`` (samples,)."""
        with self.bank.using(name) as model:
            return self._encode(model, wave)[0]

    @torch.no_grad()
    def _words(self, name: str, wave: Tensor) -> tuple[list[Word], list[str]]:
        with self.bank.using(name) as model:
            config = self.bank.config(name)
            decoding = config.get("decoding") or {}
            hidden, hop = self._encode(model, wave)
            beam = any(name in decoding for name in BEAM_OPTIONS) and not decoding.get("ctc_best_path")
            if beam or getattr(model, "ctc", None) is None:
                tokens = beam_tokens(model, hidden, decoding)
            else:
                tokens = best_path_tokens(model.ctc.log_softmax(hidden[None])[0].cpu(), model.token_list, model.blank_id)
        words = words_of(tokens, config.get("token_type") or "char")
        return [timed(word, hop / RATE) for word in words], [token.text for token in tokens]

    def _encode(self, model: Any, wave: Tensor) -> tuple[Tensor, int]:
        """(output (frames, dim) of the encoder, samples of one frame)."""
        device = next(model.frontend.parameters()).device

        def encode(window: Tensor) -> Tensor:
            return model.encode(window[None].to(device), torch.tensor([len(window)], device=device))[0][0]

        length = int(self._window_s * RATE)
        if isinstance(model.encoder, MeanPooling):
            return mean_of_pieces(encode, wave, length), len(wave)
        windows = Windows(length, int(self._overlap_s * RATE), model.frontend.hop_length)
        return frames_in_windows(encode, wave, windows)


def understands(models: Models, name: str) -> bool:
    """True if the texts of a model begin with an intent: those of ESPnet's task slu, and of ASR models that say so."""
    return models.task(name) == "slu" or bool((models.config(name).get("decoding") or {}).get(INTENTS))
