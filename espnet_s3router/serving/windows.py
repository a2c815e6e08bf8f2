"""Long recordings in overlapping windows: the frames of all windows as one sequence. A mean over frames comes from pieces.

A Transformer takes time and memory that grow with the square of the length, and it was trained on short utterances.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """How recordings are cut. All numbers are samples."""

    length: int
    overlap: int
    """Samples that two windows share, at least two frames. Each gives half of the frames there: both lack context at their
    ends."""
    hop: int
    """Samples of one frame."""

    def spans(self, samples: int) -> Iterator[tuple[int, int]]:
        """(first, last + 1) of each window. All begin on a frame."""
        if samples <= self.length:
            yield 0, samples
            return
        step = max((self.length - self.overlap) // self.hop, 1) * self.hop
        start = 0
        while start + self.length < samples:
            yield start, start + self.length
            start += step
        yield -(-(samples - self.length) // self.hop) * self.hop, samples  # rounded up: no window is longer than the others


def frames_in_windows(encode: Callable[[Tensor], Tensor], wave: Tensor, windows: Windows) -> tuple[Tensor, int]:
    """(frames (frames, dim) of ``wave`` (samples,), samples of one frame).

    ``encode`` takes the samples of a window and returns its frames (frames, dim). A recording of at most one window is
    encoded whole. Elsewhere every frame comes from exactly one window. An encoder that merges frames makes them longer
    than ``windows.hop``.
    """
    first_end = next(windows.spans(len(wave)))[1]
    frames = encode(wave[:first_end])
    merged = max(round(first_end / len(frames) / windows.hop), 1)
    windows = replace(windows, hop=windows.hop * merged)
    spans = list(windows.spans(len(wave)))
    parts: list[Tensor] = []
    done = 0  # frames so far
    for index, (start, end) in enumerate(spans):
        if index:
            frames = encode(wave[start:end])
        first = start // windows.hop  # number of its first frame in the recording
        last = first + len(frames)
        if index + 1 < len(spans):
            last = min(last, (spans[index + 1][0] + end) // (2 * windows.hop))
        parts.append(frames[max(done - first, 0) : last - first])
        done = last
    return torch.cat(parts), windows.hop


def mean_of_pieces(encode: Callable[[Tensor], Tensor], wave: Tensor, longest: int) -> Tensor:
    """The vector (1, dim) of ``wave`` (samples,), by an encoder whose output is the mean over all frames (1, dim).

    A recording of more than ``longest`` samples is cut into equal pieces: the mean of their vectors is that of all frames.
    """
    pieces = wave.tensor_split(-(-len(wave) // longest))
    return torch.stack([encode(piece) for piece in pieces]).mean(dim=0)
