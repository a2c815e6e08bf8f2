"""Encoded audio files for tests."""

from fractions import Fraction
from pathlib import Path

import numpy as np


def encode(path: Path, pcm: np.ndarray, fs: int, codec: str = "g722", container: str = "g722") -> Path:
    """Write ``pcm`` (frames,) int16 at ``fs`` Hz with a codec of FFmpeg, creating the folder."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=fs, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = fs, 0, Fraction(1, fs)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return path
