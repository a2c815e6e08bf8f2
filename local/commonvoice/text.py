"""Sentences of Common Voice as characters to recognise, by language.

Case and punctuation are not spoken, so they are removed. Apostrophes inside words stay. Texts are in Unicode's form NFC.
"""

import re
import unicodedata

from local.text import APOSTROPHES, LOOSE_APOSTROPHE, spell

SPELLED = {"en": "en", "es": "es", "fr": "fr", "it": "it", "nl": "nl", "ru": "ru", "sv-SE": "sv", "tr": "tr"}
"""Languages whose numbers num2words writes as words, with its name. Elsewhere digits stay, one character each."""
NUMBER = re.compile(r"\d+")
NARROW_SPACES = "\u00a0\u2009\u202f"
"""Between the digits of a large number, such a space is no end of a word."""
GROUPS = {sign: re.compile(rf"(?<![\d{sign}])\d{{1,3}}(?:[{sign}{NARROW_SPACES}]\d{{3}})+(?![\d{sign}])") for sign in ".,"}
"""Large numbers as people write them, by the sign between thousands: 12.000 or 12,000."""
BEFORE_LOWER = {"tr": {"I": "ı", "İ": "i"}}
"""What the rules of Unicode for lower case do not do: Turkish has an i with a dot and one without."""
ONE_SPELLING = {
    "fr": {"œ": "oe", "æ": "ae"},
    "ru": {"ё": "е"},  # writers mix both freely
}
"""Letters that writers replace by others, in the form that always remains."""
HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
NO_SPACES = {"zh-TW", "zh-CN", "zh-HK"}
AROUND_HAN = re.compile(rf"(?<=[{HAN}])\s+|\s+(?=[{HAN}])")


def characters(sentence: str, lang: str) -> str:
    """``L'été, c'est fini !`` -> ``l'été c'est fini``. Empty for a sentence without a letter or digit."""
    text = unicodedata.normalize("NFC", sentence).translate(APOSTROPHES)
    if lang in SPELLED:
        thousands = GROUPS["," if lang == "en" else "."]
        text = thousands.sub(lambda match: "".join(NUMBER.findall(match[0])), text)
        text = NUMBER.sub(lambda match: spell(match[0], SPELLED[lang]), text)
    text = text.translate(str.maketrans(BEFORE_LOWER.get(lang, {}))).lower()
    text = text.translate(str.maketrans(ONE_SPELLING.get(lang, {})))
    text = LOOSE_APOSTROPHE.sub(" ", "".join(_as_read(c) for c in text))
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return AROUND_HAN.sub("", text) if lang in NO_SPACES else text


def _as_read(character: str) -> str:
    """Letters, their marks, digits and apostrophes; nothing for invisible characters such as soft hyphens; else a space."""
    kind = unicodedata.category(character)
    return character if character == "'" or kind[0] in "LMN" else "" if kind == "Cf" else " "
