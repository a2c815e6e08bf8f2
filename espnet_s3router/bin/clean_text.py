"""``python -m espnet_s3router.bin.clean_text CLEANER DIR …``: the transcripts of data directories, cleaned by ESPnet.

A cleaner spells out numbers and abbreviations, for example, and brings letters and punctuation to one form. ``DIR/text``
stays as it is; ``DIR/text.cleaned`` is written. Without a DIR, the command only says whether the cleaner can be used.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_s3router.data.tokens import read_texts
from espnet_s3router.errors import InputError, exit_status, raise_problems, summary
from espnet_s3router.files import replacing_file
from espnet_s3router.text_files import read_symbols, write_table

CLEANED = "text.cleaned"
MOST_PASSES = 5
"""Training cleans once more, so a text is cleaned until it stays the same."""


def clean(text: str, cleaner: Callable[[str], str]) -> str:
    """The text after as many passes of the cleaner as change it. Raises InputError if that never ends."""
    for _ in range(MOST_PASSES):
        before, text = text, " ".join(cleaner(text).split())
        if before == text:
            return text
    raise InputError(f"{text[:60]!r} changes with every pass of the cleaner: correct this transcript")


def clean_dir(folder: Path, cleaner: Callable[[str], str], symbols: Sequence[str]) -> None:
    """Write ``text.cleaned`` beside ``text``. Raises InputError if non-linguistic ``symbols`` would be lost."""
    texts = read_texts(folder)
    cleaned = {utt: clean(text, cleaner) for utt, text in texts.items()}
    lost = [
        f"{utt!r}: {symbol} becomes something else"
        for utt, text in cleaned.items()
        for symbol in symbols
        if text.count(symbol) != texts[utt].count(symbol)
    ]
    raise_problems(lost, f"{folder}/text", "Use no cleaner with these symbols, or clean the transcripts yourself.")
    with replacing_file(folder / CLEANED) as temporary:
        write_table(temporary, cleaned)


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Clean the transcripts of every directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cleaner", help="a cleaner of ESPnet")
    parser.add_argument("dirs", nargs="*", type=Path, metavar="DIR", help="data directories")
    parser.add_argument("--nlsyms_txt", help="file of symbols that must stay")
    args = parser.parse_args(argv)
    from espnet2.text.cleaner import TextCleaner

    try:
        cleaner = TextCleaner(args.cleaner)
        cleaner("a")
    except Exception as error:  # each cleaner needs a package of its own
        raise InputError(
            f"--cleaner {args.cleaner}: ESPnet cannot use it here ({summary(error)}). Install its package, such as "
            "openai-whisper for whisper_en and underthesea for vietnamese, or use another cleaner"
        ) from error
    symbols = read_symbols(args.nlsyms_txt) if args.nlsyms_txt else []
    for folder in args.dirs:
        clean_dir(folder, cleaner, symbols)


if __name__ == "__main__":
    raise SystemExit(main())
