"""``Speech2Text`` for packs, with the habits of ESPnet's class of that name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.serving import Router, Transcript
from espnet_s3router.serving.router import AUTO, Models
from espnet_s3router.zoo.opened import open_pack

Speech = str | Path | np.ndarray | Tensor
"""A file of any rate and format, or mono samples (samples,) at 16 kHz in [-1, 1]."""
CLASSES = {"asr": "espnet_s3router.Speech2Text", "slu": "espnet_s3router.Speech2Understand"}
OTHER = {"asr": "slu", "slu": "asr"}
Hypothesis = tuple[str, list[str], list[int], Transcript]
"""Text, tokens, token ids, and the transcript with words and times: as ESPnet's n-best, which has one entry here."""


class Speech2Text:
    """The text of speech, with one or many routes on one base, or with a baked model.

    >>> speech2text = Speech2Text.from_pretrained("OWNER/NAME", route="nl")
    >>> text, tokens, token_ids, transcript = speech2text("a.wav")[0]

    Args:
        models: a bank, or one model.
        route: name of the route; ``auto`` finds it for each recording. None: the only one.
        window_s: seconds of audio that the model sees at a time; longer recordings are cut into windows.
    """

    task = "asr"
    """The task of the packs that this class opens."""

    def __init__(self, models: Models, route: str | None = None, *, window_s: float = 20.0) -> None:
        self.router = Router(models, window_s=window_s, overlap_s=min(2.0, window_s / 4))
        names = self.routes
        if not names:
            raise InputError(f"the pack is of the task {OTHER[self.task]}: open it with {CLASSES[OTHER[self.task]]}")
        if route is None and len(names) > 1:
            raise InputError(f"the pack has several routes: name one of {', '.join(names)} as route, or give 'auto'")
        self.route = names[0]
        self.set_target_lang(route or names[0])

    @classmethod
    def from_pretrained(
        cls,
        tag_or_path: str | Path,
        route: str | None = None,
        *,
        device: str = "cpu",
        window_s: float = 20.0,
    ) -> Self:
        """Open a pack: a folder, a zip file, or ``OWNER/NAME`` or ``OWNER/NAME@REVISION`` of the Hugging Face hub.

        What was downloaded once opens without network. Raises InputError for a pack that is not whole, and for a wrong
        ``route``, with a list of those there are.
        """
        return cls(open_pack(tag_or_path, device=device), route, window_s=window_s)

    @property
    def routes(self) -> list[str]:
        """Names of the routes of this task."""
        return [name for name in self.router.bank.names if self.router.bank.task(name) == self.task]

    def set_target_lang(self, lang: str) -> None:
        """Use the route ``lang`` from now on; the same name as in transformers' MMS. Raises InputError for another name."""
        if lang != AUTO and (task := self.router.bank.task(lang)) != self.task:
            raise InputError(f"route {lang} is of the task {task}: open the pack with {CLASSES[task]}")
        self.route = lang

    def __call__(self, speech: Speech) -> list[Hypothesis]:
        """The one best hypothesis of a recording, in a list as ESPnet returns it."""
        return self.batch([speech])[0]

    def batch(self, speeches: Sequence[Speech], routes: Sequence[str] | None = None) -> list[list[Hypothesis]]:
        """The hypotheses of several recordings, in their order; ``routes`` names one for each, if they differ.

        Every recording is encoded alone, so its text does not depend on the others.
        """
        names = [self.route] * len(speeches) if routes is None else list(routes)
        if len(names) != len(speeches):
            raise InputError(f"there are {len(names)} routes for {len(speeches)} recordings, expected one for each")
        found = self.router.transcribe_many([_as_audio(speech) for speech in speeches], names)
        return [[self._hypothesis(transcript)] for transcript in found]

    def _hypothesis(self, transcript: Transcript) -> Hypothesis:
        token_list = self.router.bank.tokens(transcript.lang)
        ids = [token_list.index(token) for token in transcript.tokens]
        return transcript.text, transcript.tokens, ids, transcript


class Speech2Understand(Speech2Text):
    """The intent, and the transcript where the model was trained on it, of speech; for packs of the task slu.

    >>> speech2understand = Speech2Understand.from_pretrained("OWNER/NAME")
    >>> text, tokens, token_ids, transcript = speech2understand("a.wav")[0]

    The arguments are those of ``Speech2Text``.
    """

    task = "slu"


def _as_audio(speech: Speech) -> str | Path | Tensor:
    if not isinstance(speech, np.ndarray):
        return speech
    if speech.dtype == np.int16:
        return torch.from_numpy(speech.astype(np.float32) / 32768)
    return torch.from_numpy(speech.astype(np.float32, copy=False)) if speech.dtype.kind == "f" else torch.from_numpy(speech)
