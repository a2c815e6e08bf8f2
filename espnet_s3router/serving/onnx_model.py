"""``OnnxModel``: the text of recordings, with one model in ONNX."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.exported.layout import BANK_TYPE, BLANK, read_description, read_vocabulary
from espnet_s3router.exported.session import Session, check_length
from espnet_s3router.serving.search import best_path_tokens, spelling, words_of
from espnet_s3router.serving.transcript import RATE, Audio, Transcript, read_wave, timed
from espnet_s3router.serving.windows import Windows, frames_in_windows


class OnnxModel:
    """Transcribes recordings with a model that ``s3router export`` wrote. Needs neither ESPnet nor s3prl.

    Args:
        path: the .onnx file. ``vocab.txt`` and ``config.json`` lie beside it.
        window_s: seconds of audio that the model sees at a time; longer recordings are cut into windows.
        overlap_s: seconds that two windows share.
        threads: of one matrix product; 0 for as many as the processor has cores.

    Raises:
        InputError: onnxruntime is missing, or the file is no model of this package.
    """

    def __init__(self, path: str | Path, *, window_s: float = 20.0, overlap_s: float = 2.0, threads: int = 0) -> None:
        path = Path(path)
        description = read_description(path.parent)
        if description.model_type == BANK_TYPE:
            raise InputError(
                f"{path}: serves many languages. Give its folder and a language: --bank {path.parent} --lang NAME"
            )
        self.tokens = read_vocabulary(path.parent)
        self._session = Session(path, description, threads=threads)
        self._windows = windows_of(self._session, window_s, overlap_s)

    def log_probs(self, audio: Audio) -> Tensor:
        """Log probabilities (frames, tokens) of a file, or of samples (samples,) at 16 kHz.

        Raises InputError for audio that is shorter than the first frame of the model.
        """
        return framewise(self._session, self._windows, audio)

    def transcribe(self, audio: Audio) -> Transcript:
        """The text of a file or of samples; errors as for ``log_probs``, and BadAudio for a file that cannot be read."""
        return transcript(self.log_probs(audio), self.tokens, self.tokens.index(BLANK), self._windows.hop)


def windows_of(session: Session, window_s: float, overlap_s: float) -> Windows:
    """How recordings are cut: no window is longer than the graph takes."""
    if not 0.1 <= overlap_s <= window_s / 2:
        raise InputError(f"overlap_s is {overlap_s} with window_s {window_s}, expected 0.1 to half of a window")
    longest = session.description.longest or int(window_s * RATE)
    length = min(int(window_s * RATE), longest)
    return Windows(length, min(int(overlap_s * RATE), length // 2), session.description.subsampling_factor)


def framewise(session: Session, windows: Windows, audio: Audio, weights: Mapping[str, Any] | None = None) -> Tensor:
    """Log probabilities (frames, tokens) of audio of any length; ``weights`` as for ``Session.log_probs``."""
    wave = read_wave(audio)
    try:
        check_length(min(len(wave), windows.length), session.description)
    except InputError as error:
        raise InputError(f"{audio}: {error}" if isinstance(audio, str | Path) else str(error)) from None
    return frames_in_windows(lambda w: torch.from_numpy(session.log_probs(w.numpy(), weights)), wave, windows)[0]


def transcript(log_probs: Tensor, tokens: Sequence[str], blank: int, hop: int, lang: str = "") -> Transcript:
    """The best path through ``log_probs`` (frames, tokens); ``tokens`` as vocab.txt spells them."""
    found = best_path_tokens(log_probs, tokens, blank)
    spelled = words_of(found, "bpe")  # vocab.txt marks the beginning of a word as SentencePiece does
    words = [timed(word, hop / RATE) for word in spelled if spelling(word)]
    return Transcript(" ".join(word.text for word in words), lang, words, [token.text for token in found])
