"""Phones of written sentences, by espeak-ng (espeak-ng/espeak-ng, GPL-3.0) through phonemizer (Bernard and Titeux 2021).

Both are Python packages: ``pip install "espnet-s3router[phones]"``. espeakng-loader brings the library and its voices.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from espnet_s3router.errors import InputError, install_extra, summary

VOICES = {"en": "en-us", "fr": "fr-fr", "sv-SE": "sv", "zh-TW": "cmn", "zh-CN": "cmn"}
"""Language of Common Voice -> voice of espeak-ng, where their names differ."""
WORD_END = "|"
INSTALL = install_extra("phones")


def phones(sentences: Sequence[str], lang: str) -> list[str]:
    """The phones of each sentence with spaces between them; empty for a sentence without any.

    Stress marks are left out; the tones of Mandarin stay, as digits on the vowels. Raises InputError if the packages are
    missing or espeak-ng does not know the language.
    """
    espeak = backend(lang)
    from phonemizer.separator import Separator

    separator = Separator(phone=" ", word=f" {WORD_END} ", syllable="")
    spoken = [" ".join(sentence.split()) for sentence in sentences]
    made = espeak.phonemize(spoken, separator=separator, strip=True)
    if len(made) != len(spoken):
        raise InputError(f"phonemizer made {len(made)} lines of {len(spoken)} sentences in {lang}; expected one for each")
    return [" ".join(line.replace(WORD_END, " ").split()) for line in made]


def description(lang: str) -> str:
    """What makes the phones of a language, for records: ``espeak-ng 1.52.0, voice es, phonemizer 3.4.0``."""
    return (
        f"espeak-ng {'.'.join(map(str, backend(lang).version()))}, voice {voice(lang)}, phonemizer {_phonemizer_version()}"
    )


def voice(lang: str) -> str:
    """espeak-ng's name of a language of Common Voice."""
    return VOICES.get(lang, lang)


def _phonemizer_version() -> str:
    try:
        return version("phonemizer")
    except PackageNotFoundError:  # a fork under another name
        return "of another name"


def backend(lang: str) -> Any:
    """phonemizer on espeakng-loader's library. Raises InputError as ``phones`` does."""
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper

        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    except ImportError as error:
        raise InputError(f"phones: no package {error.name}. Install it ({INSTALL}), or use --units characters") from error
    except AttributeError as error:  # before 3.4, phonemizer cannot be told where the voices are
        problem = f"phones: phonemizer is too old ({summary(error)}), expected phonemizer>=3.4"
        raise InputError(f"{problem}. Update it: {INSTALL}") from error
    if not EspeakBackend.is_supported_language(voice(lang)):
        raise InputError(
            f"phones: espeak-ng has no voice {voice(lang)!r} for {lang}. Use --units characters, or --phone_labels"
        )
    return EspeakBackend(voice(lang), with_stress=False, language_switch="remove-flags")
