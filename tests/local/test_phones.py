"""Phones by espeak-ng in all languages of the recipe, and what is said without the packages."""

import sys
import types

import pytest

from espnet_s3router.errors import InputError
from local.phones import description, phones, voice

SPOKEN = {
    "en": ("Don't shout, Ann!", "d oʊ n t ʃ aʊ t æ n"),
    "es": ("¡Hola! El niño come pan.", "o l a e l n i ɲ o k o m e p a n"),
    "fr": ("Un bon vin blanc.", "œ̃ b ɔ̃ v ɛ̃ b l ɑ̃"),
    "it": ("Ciao, amico.", "tʃ a o a m i k o"),
    "ky": ("мен", "m e n"),
    "nl": ("foto's", "f oː t oː s"),
    "ru": ("стоит", "s t ʌ i t"),
    "sv-SE": ("två öar", "t v oː øː a r"),
    "tr": ("IŞIK içinde", "ɯ ʃ ɯ k i tʃ ɪ n d ɛ"),
    "tt": ("Әйе, җиңү", "æ j e ʑ i ŋ y"),
    "zh-TW": ("我喜歡", "w o2 ɕ i2 χ ua1 n"),
}
"""Language -> a sentence and its phones, as a grammar of the language has them; tones on the vowels."""


@pytest.fixture
def packages():
    """Skips where the packages of the extra ``phones`` are not installed."""
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("phonemizer")


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("lang", SPOKEN)
def test_a_sentence_of_each_language(lang):
    sentence, expected = SPOKEN[lang]
    assert phones([sentence, "…", sentence], lang) == [expected, "", expected]


@pytest.mark.usefixtures("packages")
def test_the_description_names_versions_and_voice():
    assert description("sv-SE").startswith("espeak-ng 1.") and "voice sv, phonemizer 3." in description("sv-SE")


@pytest.mark.usefixtures("packages")
def test_a_language_that_espeak_does_not_know():
    with pytest.raises(InputError, match="no voice 'xx' for xx. Use --units characters"):
        phones(["a"], "xx")


def test_voices():
    assert [voice(lang) for lang in ("en", "zh-TW", "de")] == ["en-us", "cmn", "de"]


@pytest.mark.parametrize("name", ["espeakng_loader", "phonemizer"])
def test_a_missing_package(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "espeakng_loader", types.ModuleType("espeakng_loader"))
    for module in (name, f"{name}.backend"):  # both, because an imported one would be found
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"no package {name}.*pip install.*--units characters"):
        phones(["a"], "es")


def test_an_old_phonemizer(monkeypatch):
    """Before 3.4 it cannot be told where the voices are."""
    for name in ("phonemizer", "phonemizer.backend", "phonemizer.backend.espeak", "phonemizer.backend.espeak.wrapper"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    loader = types.ModuleType("espeakng_loader")
    loader.get_library_path = loader.get_data_path = str
    monkeypatch.setitem(sys.modules, "espeakng_loader", loader)
    sys.modules["phonemizer.backend"].EspeakBackend = object
    old = type("EspeakWrapper", (), {"set_library": staticmethod(lambda path: None)})
    sys.modules["phonemizer.backend.espeak.wrapper"].EspeakWrapper = old
    with pytest.raises(InputError, match="phonemizer is too old.*phonemizer>=3.4"):
        phones(["a"], "es")
