"""Lengths that audio containers state, compared with their bytes. libsndfile believes these lengths.

A length in a header is no promise: programs write it before the samples, and some estimate it. These functions look at
the bytes of a file and decode nothing.
"""

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

UNKNOWN_LENGTH = 0x7FFFF000  # programs that write into a pipe state this length or a greater one
REST_S = 0.1  # s of samples; a shorter rest behind the stated end of a WAV file is padding
CHUNK_NAME = re.compile(rb"[ -~]{4}")
NIST_FIELDS = (b"sample_count", b"channel_count", b"sample_n_bytes")
# kbit/s of layer III, index 1 to 14 (ISO/IEC 11172-3 table 2.4.2.3 for MPEG-1, ISO/IEC 13818-3 for MPEG-2)
MPEG1_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MPEG2_KBITS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version bits


def cut_short(path: Path) -> str:
    """How many bytes are missing from a WAV, RF64, W64, AIFF, AU or NIST file; empty if none are."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            found = _find_samples(file)
            if found is None:
                return "ends inside its WAV header"
            start, stated, _ = found
            return _missing(size - start, stated, "bytes of samples")
    stated, unknown = size, UNKNOWN_LENGTH
    if len(head) < 32:
        return ""
    if head[:4] == b"FORM":
        stated = 8 + struct.unpack(">I", head[4:8])[0]
    elif head[:4] == b".snd":
        start, length = struct.unpack(">II", head[4:12])
        stated = start + length
    elif head[:4] == b"RF64" and head[12:16] == b"ds64":
        stated, unknown = 8 + struct.unpack("<Q", head[20:28])[0], 1 << 62
    elif head[:4] == b"riff":  # W64
        stated, unknown = struct.unpack("<Q", head[16:24])[0], 1 << 62
    elif head[:7] == b"NIST_1A" and b"shorten" not in head:
        fields = [re.search(name + rb" -i (\d+)", head) for name in NIST_FIELDS]
        if all(fields):
            frames, channels, width = (int(field[1]) for field in fields if field)
            stated = 1024 + frames * channels * width
    return _missing(size, stated, "bytes", unknown)


def _missing(held: int, stated: int, what: str, unknown: int = UNKNOWN_LENGTH) -> str:
    return f"holds {held} {what}, its header states {stated}" if held < stated < unknown else ""


def _find_samples(file: BinaryIO) -> tuple[int, int, int] | None:
    """Start and stated length of the samples of a WAV file, and its bytes per second. None if the file ends before."""
    rate = 0
    file.seek(12)
    while len(header := file.read(8)) == 8:
        name, length = header[:4], struct.unpack("<I", header[4:])[0]
        if name == b"data":
            return file.tell(), length, rate
        start = file.tell()
        if name == b"fmt " and len(form := file.read(12)) == 12:
            rate = struct.unpack("<I", form[8:])[0]
        file.seek(start + length + length % 2)
    return None


def wav_read_on(path: Path) -> bytes | None:
    """The content of a WAV file whose samples go on behind their stated end, with an unknown length in its header.

    None for other files. Chunks with a name and zeros behind the samples are no samples.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or (found := _find_samples(file)) is None:
            return None
        start, stated, rate = found
        at = start + stated + stated % 2
        while at < size:
            file.seek(at)
            header = file.read(8)
            if len(header) < 8 or not CHUNK_NAME.fullmatch(header[:4]):
                break
            length = struct.unpack("<I", header[4:])[0]
            at += 8 + length + length % 2
        file.seek(min(at, size))
        if len(file.read().strip(b"\0")) <= REST_S * rate:
            return None
        file.seek(0)
        content = bytearray(file.read())
    content[start - 4 : start] = b"\xff" * 4
    return bytes(content)


def ogg_end(path: Path) -> str:
    """``end`` if the last Ogg page carries the end-of-stream flag, ``open`` if not, ``cut`` if the page is incomplete.

    Source: RFC 3533, section 6.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * 65536), os.SEEK_SET)  # a page is shorter than 64 KiB
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "cut"
    return "end" if page[5] & 4 else "open"


def ogg_streams(path: Path) -> int:
    """Number of Ogg pages that begin a stream. libsndfile reads only the first of several joined streams."""
    return path.read_bytes().count(b"OggS\0\2")


def is_mpeg_frame(packet: bytes) -> bool:
    """True if ``packet`` begins as an MPEG audio frame; False for tags between two joined files."""
    return len(packet) >= 4 and packet[0] == 0xFF and packet[1] & 0xE0 == 0xE0


def mpeg_frame_bytes(packet: bytes) -> int:
    """Bytes that a frame of MPEG layer III has by its own header; 0 if they cannot be computed."""
    if not is_mpeg_frame(packet) or packet[1] >> 1 & 3 != 1:
        return 0
    version, bit_rate, rate = packet[1] >> 3 & 3, packet[2] >> 4, packet[2] >> 2 & 3
    if version not in MPEG_RATES or bit_rate in (0, 15) or rate == 3:
        return 0
    kbits = (MPEG1_KBITS if version == 3 else MPEG2_KBITS)[bit_rate - 1]
    return (144 if version == 3 else 72) * 1000 * kbits // MPEG_RATES[version][rate] + (packet[2] >> 1 & 1)


def mp3_count(path: Path) -> int:
    """Frames that the Xing or Info header of an MP3 file counts; 0 if there is none."""
    found = re.search(rb"(?:Xing|Info)\0\0\0([\x01-\x0f])(.{4})", path.read_bytes(), re.DOTALL)
    return int.from_bytes(found[2], "big") if found and found[1][0] & 1 else 0
