"""Encoded audio files for tests, and real speech where the repository has some."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np

DOWNLOADS = Path(__file__).parents[1] / "egs2/s3router/asterisk/asr1/downloads/asterisk"
PROMPTS = "**/en_US_f_Allison/*.g722"
BYTES = range(8_000, 16_000)
"""Size of a file of one to two seconds: G.722 has 64 kbit/s."""


def recorded_speech(count: int = 2, folder: Path | None = None) -> list:
    """Audio (samples,) at 16 kHz of recorded prompts, as tensors: those of ``folder``, of the folder ASTERISK, or what the
    recipe asterisk/asr1 has downloaded. Empty where there are none."""
    folder = folder or Path(os.environ.get("ASTERISK", DOWNLOADS))
    paths = [path for path in sorted(folder.glob(PROMPTS)) if path.stat().st_size in BYTES]
    if len(paths) < count:
        return []
    import torch

    from espnet_s3router.data.audio import load_at

    return [torch.from_numpy(load_at(path, 16000)) for path in paths[:count]]


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
