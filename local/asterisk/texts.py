"""Read the text lists of the Asterisk core sounds and correct their known faults.

``core-sounds-LANG.txt[.gz]`` holds ``key: text`` lines, comments that begin with ``;`` and, in one language, a byte
order mark. A key is the path of a recording below the folder of its voice, without suffix (``digits/1``).
"""

import gzip
import re
from pathlib import Path

from espnet_s3router.errors import InputError

BRACKETED = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|<[^<>]*>")  # one pair around the whole text

# These recordings hold no speech, although some languages describe them in words without brackets.
NOT_SPEECH = frozenset({"beep", "beeperr", "confbridge-join", "confbridge-leave", "tt-monkeys"})

# (language, key) -> (listed text, correct text): characters lost in an encoding, or two entries on one line.
CORRECTIONS = {
    ("fr", "vm-record-prepend"): (
        "vm-review-nonurgent: Pour enlever ce message d'urgent, veuillez faire 4.",
        "",
    ),
    ("it", "at-tone-time-exactly"): ("sar?", "sarà"),
    ("it", "conf-full"): (" ? ", " è "),
    ("it", "feature-not-avail-line"): (" ? ", " è "),
    ("it", "if-correct-press"): (" ? ", " è "),
    ("it", "num-was-successfully"): (" ? ", " è "),
    ("it", "pls-try-call-later"): ("pi?", "più"),
    ("it", "pm-invalid-option"): (" ? ", " è "),
    ("it", "something-terribly-wrong"): (" ? ", " è "),
    ("it", "speed-dial-empty"): (" ? ", " è "),
    ("it", "unidentified-no-callback"): ("pu?", "può"),
    ("it", "cannot-complete-as-dialed"): (
        "pu? essere completata cos? come",
        "può essere completata così come",
    ),
    ("ru", "conf-adminmenu"): ("conf-adminmenu:", ""),
}


def read_texts(path: Path, lang: str) -> dict[str, str]:
    """Key -> corrected text. Silences, empty texts and texts wholly in brackets are left out.

    If a key is listed twice, its first text counts (es ``digits/0`` is ``cero``, then ``diez``).
    Raises InputError for a list that is not UTF-8 and for a line that is not ``key: text``.
    """
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        lines = raw.decode("utf-8").replace("\ufeff", "").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}). Expected the list of version 1.6.1.") from error
    texts: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith(";"):
            continue
        key, colon, text = line.partition(":")
        if not colon or not key.strip():
            raise InputError(f"{path} line {number}: got {line[:60]!r}; expected `key: text`. Download it again.")
        wrong, right = CORRECTIONS.get((lang, key.strip()), ("", ""))
        text = text.replace(wrong, right).strip() if wrong else text.strip()
        texts.setdefault(key.strip(), text)
    return {k: t for k, t in texts.items() if t and not k.startswith("silence/") and not BRACKETED.fullmatch(t)}
