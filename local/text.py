"""Normalise transcripts to lower-case words with spelled numbers and without punctuation.

``NORMALISERS`` holds one function per language. Each function applies Unicode NFC, removes text in brackets, spells
numbers out, removes punctuation except apostrophes inside words, and makes spaces single.
"""

import re
import unicodedata
from collections.abc import Callable

ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>")
APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u00b4": "'", "`": "'"})
# Digits after a letter with a dot or hyphen (H.323, аш-323) and long numbers (extension 1234) are read digit by digit.
CODE = re.compile(r"(?<=[^\W\d][.\-])\d+|\d{4,}")
NOT_WORD = re.compile(r"[^\w']|_")
LOOSE_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")


def spell(number: str, lang: str) -> str:
    """The words of a number in a language of num2words, with a space on both sides."""
    from num2words import num2words

    value = float(number.replace(",", ".")) if re.search(r"[.,]", number) else int(number)
    return f" {num2words(value, lang=lang)} "


def _spell_numbers(text: str, lang: str, decimal: str) -> str:
    text = CODE.sub(lambda match: "".join(spell(digit, lang) for digit in match[0]), text)
    number = rf"\d+(?:[{decimal}]\d+)?"
    return re.sub(number, lambda match: spell(match[0], lang), text)


def _normalise(text: str, lang: str, *, decimal: str, signs: dict[str, str]) -> str:
    text = unicodedata.normalize("NFC", text).translate(APOSTROPHES)
    text = ASIDE.sub(" ", text)
    for sign, word in signs.items():
        text = text.replace(sign, f" {word} ")
    text = _spell_numbers(text, lang, decimal).lower()
    text = LOOSE_APOSTROPHE.sub(" ", NOT_WORD.sub(" ", text))
    return " ".join(unicodedata.normalize("NFC", text).split())


def english(text: str) -> str:
    """``Dial 2, don't press #!`` -> ``dial two don't press pound`` (# is pound, * is star)."""
    return _normalise(text, "en", decimal=".", signs={"#": "pound", "*": "star"})


def spanish(text: str) -> str:
    """``Marque 4 o 6.`` -> ``marque cuatro o seis``. Accents stay as written."""
    return _normalise(text, "es", decimal=".,", signs={"#": "numeral", "*": "asterisco"})


def french(text: str) -> str:
    """``L'aide : appuyez sur #.`` -> ``l'aide appuyez sur dièse``; œ and æ are written oe and ae."""
    text = text.replace("œ", "oe").replace("Œ", "oe").replace("æ", "ae").replace("Æ", "ae")
    return _normalise(text, "fr", decimal=".,", signs={"#": "dièse", "*": "étoile"})


def italian(text: str) -> str:
    """``E' in uso.`` -> ``è in uso``: a capital with an apostrophe stands for the accented letter."""
    text = re.sub(r"\bE['\u2019](?=\s)", "è", text)
    return _normalise(text, "it", decimal=".,", signs={"#": "cancelletto", "*": "asterisco"})


def russian(text: str) -> str:
    """``Нажмите 7 для «Q»`` -> ``нажмите семь для q``; ё becomes е, because writers mix both freely.

    Latin letters that look like Cyrillic ones, inside an otherwise Cyrillic word, become Cyrillic.
    """
    text = re.sub(r"\w*[а-яёА-ЯЁ]\w*", lambda match: match[0].translate(_LOOKALIKES), text)
    text = _normalise(text, "ru", decimal=".,", signs={"#": "решетка", "*": "звездочка"})
    return text.replace("ё", "е")


_LOOKALIKES = str.maketrans("aceopxyABCEHKMOPTX", "асеорхуАВСЕНКМОРТХ")

NORMALISERS: dict[str, Callable[[str], str]] = {
    "en": english,
    "es": spanish,
    "fr": french,
    "it": italian,
    "ru": russian,
}
