"""Recordings of a table: checks before a model is loaded, and a few of them to compare models on.

ESPnet takes the rate of a recording for that of the model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import raise_problems
from espnet_s3router.files import read_yaml
from espnet_s3router.text_files import read_lines, read_table

RATE = 16000  # Hz, the default of ESPnet's frontends
FIX = (
    "Format the data directory with `python -m espnet_s3router.data format`, or convert each file, for example with "
    "`sox IN.wav OUT.wav rate {} channels 1`."
)


def spread(items: Sequence[str], count: int | None) -> list[str]:
    """At most ``count`` of the items, at equal distances. None: all."""
    count = len(items) if count is None else min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def check_recordings(data: Sequence[tuple[str, str, str]], key_file: str | None, train_config: str | None) -> None:
    """Read the header of each recording that will be decoded.

    ``data``: (path, name, type) of each table, as ESPnet takes them; those of type ``sound`` are checked. ``key_file``: the
    utterances to decode, by default all. Raises InputError that names files with another rate than the model's, with several
    channels or without samples, and utterances that are missing or in another order than in the table.
    """
    rate = _rate_of_model(read_yaml(train_config)) if train_config else RATE
    for path in (path for path, _, kind in data if kind == "sound"):
        problems: list[str] = []
        table = read_table(Path(path), problems, allow_blank=False)
        if table and read_lines(path)[0].startswith("\ufeff"):
            problems.append("line 1: a byte order mark, which ESPnet takes for a part of the key")
        keys = list(read_table(Path(key_file), problems)) if key_file else list(table)
        problems += [f"nothing for {key!r}, which {key_file} lists" for key in keys if key not in table]
        if not problems and keys != [key for key in table if key in set(keys)]:
            problems.append(f"{key_file} lists the utterances in another order")
        problems += [f"{key!r}: {fault}" for key in keys if key in table and (fault := _fault(table[key], rate))]
        raise_problems(problems, path, f"Expected mono audio of {rate} Hz for each utterance. {FIX.format(rate)}")


def _rate_of_model(config: dict[str, Any]) -> int:
    import humanfriendly  # ESPnet's reader of 16k

    return humanfriendly.parse_size(str((config.get("frontend_conf") or {}).get("fs", RATE)))


def _fault(path: str, rate: int) -> str:
    """Why ESPnet cannot decode a recording; empty for one that it can."""
    import soundfile

    if not path:
        return "no path"
    try:
        header = soundfile.info(path)
    except (soundfile.LibsndfileError, TypeError) as error:
        return f"{path} cannot be read as audio ({error})"
    if header.samplerate != rate or header.channels != 1:
        return f"{path} has {header.samplerate} Hz and {header.channels} channel(s)"
    return "" if header.frames else f"{path} holds no samples"


def read_wave(path: str) -> Any:
    """Samples (samples,) at 16 kHz of a file, as a tensor."""
    import torch

    from espnet_s3router.data.audio import load_at

    return torch.from_numpy(load_at(path, RATE))


def read_waves(wav_scp: str, count: int) -> list[Any]:
    """Audio (samples,) at 16 kHz of at most ``count`` utterances of a table."""
    problems: list[str] = []
    table = read_table(Path(wav_scp), problems)
    raise_problems(problems, wav_scp, "Expected the wav.scp of a formatted dataset: run stages 3 and 4.")
    return [read_wave(table[key]) for key in spread(list(table), count)]
