"""Transcripts cleaned once, before tokens, training and scores see them."""

import pytest

from espnet_s3router.bin.clean_text import clean, main
from espnet_s3router.errors import InputError
from espnet_s3router.experiments.data_options import CLEANERS
from espnet_s3router.text_files import read_text, write_table

pytestmark = pytest.mark.filterwarnings("ignore")  # of ESPnet's import

TEXTS = {"u1": "Dr. Smith has 21 cats", "u2": "(hello-world);  & co."}


@pytest.fixture
def folder(tmp_path):
    write_table(tmp_path / "text", TEXTS)
    return tmp_path


def test_texts_are_those_of_espnets_cleaner(folder):
    from espnet2.text.cleaner import TextCleaner

    assert main(["tacotron", str(folder)]) == 0
    theirs = TextCleaner("tacotron")
    assert read_text(folder / "text.cleaned") == {utt: " ".join(theirs(text).split()) for utt, text in TEXTS.items()}
    assert read_text(folder / "text.cleaned")["u1"] == "DOCTOR SMITH HAS TWENTY ONE CATS"
    assert read_text(folder / "text") == {"u1": TEXTS["u1"], "u2": "(hello-world); & co."}


def test_cleaning_again_changes_nothing():
    """ESPnet's training cleans once more."""
    assert clean("aaaa", lambda text: text.replace("aa", "a")) == "a"
    with pytest.raises(InputError, match="changes with every pass"):
        clean("a", lambda text: text + "b")


def test_symbols_that_a_cleaner_would_spoil(folder, capsys):
    (folder / "symbols").write_text("<noise>\n")
    write_table(folder / "text", {"u1": "a <noise>"})
    assert main(["tacotron", str(folder), "--nlsyms_txt", str(folder / "symbols")]) == 1
    assert "'u1': <noise> becomes something else" in capsys.readouterr().err
    assert not (folder / "text.cleaned").exists()


def test_a_cleaner_that_cannot_be_used(monkeypatch, capsys):
    """As where openai-whisper is not installed; without directories it is only tried."""
    assert main(["tacotron"]) == 0
    assert main(["whisper_of_nobody"]) == 1
    assert "--cleaner whisper_of_nobody: ESPnet cannot use it here (RuntimeError" in capsys.readouterr().err


def test_the_option_takes_what_espnets_training_takes():
    from espnet2.tasks.asr import ASRTask

    (action,) = (action for action in ASRTask.get_parser()._actions if action.dest == "cleaner")
    assert [None, *CLEANERS] == action.choices
