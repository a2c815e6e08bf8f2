"""Stage 4 of the task slu: the intents of the training text, each of them one token.

    python -m espnet_s3router.data intents dump/raw/org/TRAIN dump/raw/intents.txt --check dump/raw/org/DEV dump/raw/org/TEST

An intent is the first word of a text. A transcript may follow it.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.data.pool import CATEGORY
from espnet_s3router.data.tokens import read_texts
from espnet_s3router.errors import InputError
from espnet_s3router.files import write_atomic
from espnet_s3router.text_files import Table, read_symbols, write_table

INTENT_TABLE = "text.intent"
"""Table of a dataset with the intents alone."""


def collect_intents(
    train: Path | str,
    target: Path | str,
    *,
    others: Sequence[str] = (),
    alone: bool = False,
    nlsyms: str | None = None,
    category: str = "",
) -> list[str]:
    """Write the intents of ``train`` and the symbols of ``nlsyms`` to ``target``, and return the intents, sorted.

    A notice names the intents of ``others`` that do not occur in training: no model can give them. ``alone``: every dataset
    gets a table ``text.intent``. ``category``: texts of this category in ``utt2category`` alone have intents. Raises
    InputError if there are fewer than two intents, or if each text has its own.
    """
    texts = {folder: _texts_of(folder, category) for folder in dict.fromkeys((str(train), *others))}
    first = {folder: {utt: text.split()[0] for utt, text in table.items() if text} for folder, table in texts.items()}
    counts = Counter(first[str(train)].values())
    if len(counts) < 2 or len(counts) == counts.total() > 2:
        raise InputError(
            f"{train}: {counts.total()} texts begin with {len(counts)} different words: {', '.join(sorted(counts)[:3])}, …. "
            "Expected an intent as the first word of each text, and at least two intents. Use --task asr for transcripts"
        )
    for folder in dict.fromkeys(others):
        unknown = Counter(intent for intent in first[folder].values() if intent not in counts)
        if unknown:
            about = f"{unknown.total()} utterances with intents outside training, which count as wrong"
            print(f"notice: {folder} has {about}: {', '.join(sorted(unknown)[:5])}", file=sys.stderr)
    for folder in texts if alone else ():
        write_table(Path(folder, INTENT_TABLE), first[folder])
    symbols = [*sorted(counts), *(read_symbols(nlsyms) if nlsyms else [])]
    write_atomic(target, "".join(f"{symbol}\n" for symbol in dict.fromkeys(symbols)))
    return sorted(counts)


def _texts_of(folder: str, category: str) -> Table:
    texts = read_texts(folder)
    categories = read_texts(folder, CATEGORY) if category else {}
    return {utt: text for utt, text in texts.items() if not category or categories.get(utt) == category}
