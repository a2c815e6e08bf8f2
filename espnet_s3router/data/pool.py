"""Data directories of several languages as one, for joint training. ``utt2category`` has the language of each utterance."""

from collections.abc import Mapping
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, read_data_dir, write_data_dir
from espnet_s3router.errors import InputError

CATEGORY = "utt2category"
"""The table of languages. ESPnet makes batches of one category from it."""


def pool(sources: Mapping[str, str | Path], dst: str | Path) -> dict[str, int]:
    """Write the data directory ``dst`` with the utterances of all ``sources`` (language -> data directory).

    Returns the number of utterances of each language. Tables that some source lacks are left out. Raises InputError for a
    faulty source, and for an utterance that occurs in two of them.
    """
    parts = {language: read_data_dir(path) for language, path in sources.items()}
    pooled, language_of = DataDir({}, {}, {}), dict[str, str]()
    for language, part in parts.items():
        for utterance in part.wav:
            if utterance in language_of:
                both = f"{sources[language_of[utterance]]} and {sources[language]}"
                raise InputError(f"{both} both hold the utterance {utterance}. Give one of them another name")
            language_of[utterance] = language
        for whole, table in ((pooled.wav, part.wav), (pooled.text, part.text), (pooled.utt2spk, part.utt2spk)):
            whole.update(table)
        pooled.speed.update(part.speed)
    shared = set.intersection(*(set(part.extras) for part in parts.values())) - {CATEGORY}
    for name in sorted(shared):
        pooled.extras[name] = {utterance: value for part in parts.values() for utterance, value in part.extras[name].items()}
    pooled.extras[CATEGORY] = language_of
    write_data_dir(Path(dst), pooled)
    return {language: len(part.wav) for language, part in parts.items()}
