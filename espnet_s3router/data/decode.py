"""Decode audio files to their end, whatever their headers state.

soundfile (libsndfile) reads WAV, Ogg and other formats. PyAV (FFmpeg) reads MP3, FLAC, G.722 and all formats that libsndfile
does not know (M4A, …). The content of a file decides, except for G.722, which has no header.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from espnet_s3router.data import containers
from espnet_s3router.errors import InputError

EIGHT_BIT = frozenset({"PCM_U8", "PCM_S8", "ULAW", "ALAW"})
BELIEVES_HEADER = frozenset({"MP3", "FLAC"})  # libsndfile stops at the length in the header; FFmpeg reads to the end
NO_DURATION = frozenset({"mp3", "aac", "g722"})  # FFmpeg estimates their duration from the first bit rate
DURATION_SLACK_S = 0.1  # the duration that a container states includes encoder padding

Decoded = tuple[np.ndarray, int, list[str]]  # samples (frames, channels) float32, rate in Hz, notices


class BadAudio(InputError):
    """An audio file that cannot be used. ``rule`` names the fault in one word (missing, empty, unreadable, …)."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


def decode(path: Path) -> Decoded:
    """Read all samples of an audio file. Raises BadAudio (``unreadable``, ``truncated``)."""
    return _read_av(path, "g722") if path.suffix.lower() == ".g722" else _read_sndfile(path)


def _read_sndfile(path: Path) -> Decoded:
    import soundfile

    if detail := containers.cut_short(path):
        raise BadAudio("truncated", f"{path} {detail}")
    notices = []
    source: Path | io.BytesIO = path
    if (content := containers.wav_read_on(path)) is not None:
        notices.append("WAV file holds more samples than its header states: read to its end")
        source = io.BytesIO(content)
    try:
        file = soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError):  # soundfile refuses the suffix .raw with TypeError
        return _read_av(path)
    with file:
        if file.subtype in EIGHT_BIT:
            notices.append(f"8 bit samples ({file.subtype})")
        ogg = file.format == "OGG"
        if ogg and (end := containers.ogg_end(path)) != "end":
            if end == "cut":
                raise BadAudio("truncated", f"{path} ends inside an Ogg page")
            notices.append("Ogg stream without its end mark, may be cut short")
        if file.format in BELIEVES_HEADER or (ogg and containers.ogg_streams(path) > 1):
            samples, rate, more = _read_av(path)
            return samples, rate, notices + more
        stated, rate, channels = file.frames, file.samplerate, file.channels
        try:
            samples = file.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise BadAudio("truncated", f"{path} ends while it is being decoded ({error})") from error
    if len(samples) < stated:
        raise BadAudio("truncated", f"{path} holds {len(samples)} frames, its header states {stated}")
    return samples.reshape(-1, channels), rate, notices


def _read_av(path: Path, demuxer: str | None = None) -> Decoded:
    """``demuxer``: FFmpeg's name of a format without a header."""
    import av

    blocks: list[np.ndarray] = []
    try:
        with av.open(str(path), format=demuxer) as container:
            if not container.streams.audio:
                raise BadAudio("unreadable", f"{path} holds no audio stream")
            name, stream = container.format.name, container.streams.audio[0]
            rate, stated_s = stream.rate, float((stream.duration or 0) * (stream.time_base or 0))
            packets, last = 0, b""
            resampler = av.AudioResampler(format="fltp")  # float, one plane per channel, same rate
            for packet in _packets(container):
                if packet.size:
                    packets, last = packets + 1, bytes(packet)
                blocks += [part.to_ndarray() for frame in packet.decode() for part in resampler.resample(frame)]
            blocks += [part.to_ndarray() for part in resampler.resample(None)]
    except av.error.FFmpegError as error:
        rule = "truncated" if blocks else "unreadable"
        raise BadAudio(rule, f"{path} cannot be decoded as audio ({error.strerror})") from error
    except ValueError as error:
        raise BadAudio("unreadable", f"{path} changes its rate or its channels ({error})") from error
    samples = np.concatenate(blocks, axis=1).T if blocks else np.zeros((0, 1), np.float32)
    seconds = len(samples) / rate
    if name == "mp3" and len(last) < containers.mpeg_frame_bytes(last):
        raise BadAudio("truncated", f"{path} ends inside a frame, after {seconds:.2f} s")
    least_s = stated_s if name == "flac" else 0.98 * stated_s - DURATION_SLACK_S
    if name not in NO_DURATION and seconds < least_s:
        raise BadAudio("truncated", f"{path} holds {seconds:.2f} s, its header states {stated_s:.2f} s")
    if name == "mp3" and packets < (stated := containers.mp3_count(path)):
        return samples, rate, [f"MP3 header counts more frames than the file holds, may be cut short: {packets} of {stated}"]
    return samples, rate, []


def _packets(container) -> Iterator:
    """The packets of the first audio stream, without tags between two joined MP3 files."""
    for packet in container.demux(container.streams.audio[0]):
        if not packet.size or container.format.name != "mp3" or containers.is_mpeg_frame(bytes(packet)):
            yield packet
