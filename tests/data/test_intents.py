"""Intents of a dataset: symbols that no tokeniser splits, intents outside training, and texts without intents."""

import pytest

from espnet_s3router.data.__main__ import main
from espnet_s3router.data.intents import collect_intents
from espnet_s3router.data.tokens import make_token_list, tokenizer
from espnet_s3router.errors import InputError
from espnet_s3router.text_files import write_table

TRAIN = {"a": "email_query any mail", "b": "email_querycontact call ann", "c": "email_query mail today", "d": "lights on"}


@pytest.fixture
def folders(tmp_path):
    for name, texts in (("train", TRAIN), ("test", {"e": "email_query mail", "f": "joke tell one"})):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name / "text", texts)
    return tmp_path


def test_symbols_and_unknown_intents(folders, capsys):
    (folders / "own").write_text("SEP\n")
    words = [str(folders / "train"), str(folders / "intents.txt"), "--check", str(folders / "test"), "--alone"]
    assert main(["intents", *words, "--nlsyms_txt", str(folders / "own")]) == 0
    assert (folders / "intents.txt").read_text().split() == ["email_query", "email_querycontact", "lights", "SEP"]
    assert "has 1 utterances with intents outside training, which count as wrong: joke" in capsys.readouterr().err
    assert (folders / "test/text.intent").read_text() == "e email_query\nf joke\n"


def test_an_intent_is_one_token_in_every_kind_of_list(folders):
    """Also where one intent begins another: sentencepiece takes the longest, ESPnet's characters may take either."""
    collect_intents(folders / "train", symbols := folders / "intents.txt")
    tokens = make_token_list(folders / "train", folders / "list", token_type="bpe", nbpe=19, nlsyms=symbols)
    assert {"email_query", "email_querycontact", "lights"} <= set(tokens)
    pieces = tokenizer("bpe", bpemodel=folders / "bpe.model")(TRAIN["b"])
    assert "email_querycontact" in pieces and "email_query" not in pieces
    characters = tokenizer("char", nlsyms=symbols)(TRAIN["b"])
    assert characters[:3] == ["email_querycontact", "<space>", "c"]
    with pytest.raises(InputError, match="'email_query' begins 'email_querycontact': ESPnet may take either"):
        make_token_list(folders / "train", folders / "list", token_type="char", nlsyms=symbols)


@pytest.mark.parametrize("texts", [{"a": "one", "b": "one"}, {"a": "one day", "b": "two days", "c": "three days"}])
def test_texts_without_intents(tmp_path, texts):
    write_table(tmp_path / "text", texts)
    with pytest.raises(InputError, match="Expected an intent as the first word of each text"):
        collect_intents(tmp_path, tmp_path / "intents.txt")
    assert not (tmp_path / "intents.txt").exists()
