"""Phones of clips from a file, in the form of CPC_audio's common_voices_splits (Rivière et al. 2020, arXiv 2002.02848).

``validated_phones_reduced.txt`` has a clip and the numbers of its phones on each line. ``phonesMatches_reduced.json`` beside
it has the number of each phone.
"""

import json
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.text_files import Table, read_table
from local.commonvoice.tables import clip_name

NAMES = "phonesMatches_reduced.json"


def read_labels(path: Path) -> Table:
    """Clip -> phones with spaces between them. Numbers become phones if the file of their names lies beside the labels.

    Raises InputError for files that cannot be read, and for numbers without a name.
    """
    problems: list[str] = []
    table = read_table(path, problems, words=True)
    raise_problems(problems, str(path), "Expected a clip and its phones on each line.")
    labels = {clip_name(name): phones for name, phones in table.items()}
    beside = path.with_name(NAMES)
    if not beside.is_file():
        return labels
    by_number = _read_names(beside)
    unknown = sorted({number for phones in labels.values() for number in phones.split()} - by_number.keys())
    if unknown:
        raise InputError(
            f"{path}: {beside.name} has no phone of number {', '.join(unknown[:5])}. Expected files of one corpus"
        )
    return {name: " ".join(by_number[number] for number in phones.split()) for name, phones in labels.items()}


def _read_names(path: Path) -> dict[str, str]:
    """Number of a phone -> the phone."""
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        by_number = {str(int(number)): phone for phone, number in names.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({error}). Expected a JSON object: phone -> number") from error
    if odd := [phone for phone in by_number.values() if not phone.strip() or len(phone.split()) > 1]:
        raise InputError(f"{path}: the phone {odd[0]!r} is empty or holds a space. Expected one word for each phone")
    return by_number
