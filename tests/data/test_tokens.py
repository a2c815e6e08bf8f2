"""Token lists and tokenizers, compared with ESPnet's own."""

import unicodedata
from pathlib import Path

import pytest

from espnet_s3router.data.__main__ import main
from espnet_s3router.data.tokens import make_token_list, outside, tokenizer
from espnet_s3router.errors import InputError
from espnet_s3router.text_files import read_tokens, write_table


def test_character_list(corpus: Path) -> None:
    path = corpus.parent / "tokens" / "tokens.txt"
    tokens = make_token_list(corpus, path)
    assert tokens[:2] == ["<blank>", "<unk>"]
    assert tokens[2:4] == ["e", "s"]  # three times each, in the order they are met
    assert tokens[-1] == "<sos/eos>"
    assert "<space>" in tokens
    assert path.read_text().split("\n") == [*tokens, ""]
    assert outside(tokens, {"x": "yés, zoé"}, tokenizer("char")) == {"é": 2, ",": 1, "z": 1}


def test_bpe_list(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {f"a-{n}": f"press one or {w} to listen" for n, w in enumerate(["two", "three", "four", "five"])}
    write_table(corpus / "text", texts)
    path = corpus.parent / "tokens.txt"
    tokens = make_token_list(corpus, path, token_type="bpe", nbpe=22)
    assert len(tokens) == len(set(tokens)) == 22  # sentencepiece counts three symbols of its own too
    assert (path.parent / "bpe.model").is_file()
    with pytest.raises(InputError, match="nbpe=9000"):
        make_token_list(corpus, path, token_type="bpe", nbpe=9000)
    assert path.read_text().split() == tokens
    assert main(["validate", "nowhere"]) == 1
    assert "no such data directory" in capsys.readouterr().err


LINES = {
    "u1": "zebra apple  <noise> naïve",
    "u2": unicodedata.normalize("NFD", "naïve café zebra"),
    "u3": "<noise>apple\tkiwi",
    "u4": "kiwi <s> apple",
}


@pytest.mark.filterwarnings("ignore")  # ESPnet's own import
@pytest.mark.parametrize("symbols", [False, True])
@pytest.mark.parametrize("token_type", ["char", "word"])
def test_list_is_that_of_espnet(tmp_path: Path, token_type: str, symbols: bool) -> None:
    """Ties, combining characters, repeated spaces and symbols that are not split."""
    from espnet2.bin.tokenize_text import main as tokenize_text

    write_table(tmp_path / "text", LINES)
    (tmp_path / "symbols").write_text("<noise>\n<s>\n")
    nlsyms = tmp_path / "symbols" if symbols else None
    ours = make_token_list(tmp_path, tmp_path / "ours", token_type=token_type, nlsyms=nlsyms)
    options = ["--token_type", token_type, "--input", str(tmp_path / "text"), "--output", str(tmp_path / "theirs")]
    options += ["--field", "2-", "--write_vocabulary", "true"]
    options += ["--add_symbol", "<blank>:0", "--add_symbol", "<unk>:1", "--add_symbol", "<sos/eos>:-1"]
    tokenize_text(options + (["--non_linguistic_symbols", str(nlsyms)] if symbols else []))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert read_tokens(tmp_path / "ours") == ours


@pytest.mark.filterwarnings("ignore")
def test_tokenizers_are_those_of_espnet(tmp_path: Path) -> None:
    from espnet2.text.build_tokenizer import build_tokenizer

    write_table(tmp_path / "text", LINES)
    make_token_list(tmp_path, tmp_path / "tokens.txt", token_type="bpe", nbpe=28)
    (tmp_path / "symbols").write_text("<noise>\n<s>\n")
    options = {"nlsyms": tmp_path / "symbols", "bpemodel": tmp_path / "bpe.model"}
    for token_type in ("char", "word", "bpe"):
        theirs = build_tokenizer(token_type, bpemodel=str(options["bpemodel"]), non_linguistic_symbols=options["nlsyms"])
        for text in LINES.values():
            assert list(tokenizer(token_type, **options)(text)) == theirs.text2tokens(text)


def test_unknown_words_in_transcripts_are_one_token(tmp_path: Path) -> None:
    """espnet#287: ``<unk>`` among the symbols stood twice in the list."""
    write_table(tmp_path / "text", {f"u{n}": f"yes <unk> <noise> {word}" for n, word in enumerate(["no", "so", "on"])})
    (tmp_path / "symbols").write_text("<unk>\n<noise>\n")
    tokens = make_token_list(tmp_path, tmp_path / "t", nlsyms=tmp_path / "symbols")
    assert len(tokens) == len(set(tokens))
    assert tokens.index("<unk>") == 1
    assert "<noise>" in tokens
    with pytest.raises(InputError, match="3 transcripts, the first of 'u0', hold <unk>, which sentencepiece reserves"):
        make_token_list(tmp_path, tmp_path / "t", token_type="bpe", nbpe=10, nlsyms=tmp_path / "symbols")


def test_a_blank_symbol_ends(tmp_path: Path) -> None:
    """A tokenizer with an empty symbol never ends."""
    (tmp_path / "symbols").write_text("<noise>\n\n")
    with pytest.raises(InputError, match="line 2: the line is blank"):
        tokenizer("char", nlsyms=tmp_path / "symbols")


def test_tokenizer_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of"):
        tokenizer("phn")
    with pytest.raises(InputError, match="Pass --bpemodel"):
        tokenizer("bpe")
    with pytest.raises(InputError, match="cannot be read"):
        tokenizer("char", nlsyms=tmp_path / "none")
    with pytest.raises(InputError, match="run stage 5"):
        read_tokens(tmp_path / "none")
