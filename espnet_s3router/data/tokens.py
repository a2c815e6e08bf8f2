"""Stage 5: the token list, by ESPnet's own tokenizer, and what it does not cover.

    python -m espnet_s3router.data tokens dump/raw/TRAIN data/token_list/char/tokens.txt \
        --check dump/raw/DEV dump/raw/TEST

Order as in ESPnet's recipes: ``<blank>``, ``<unk>``, symbols by falling frequency in the training
text (a space is ``<space>``), ``<sos/eos>``. With bpe, sentencepiece's model lies beside the list.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from espnet_s3router.data.tables import raise_problems, read_table
from espnet_s3router.errors import InputError
from espnet_s3router.files import write_atomic

BLANK, UNKNOWN, SOS_EOS = "<blank>", "<unk>", "<sos/eos>"
TOKEN_TYPES = ("char", "bpe", "word")
BPE_MODEL = "bpe.model"  # file name, beside the token list


def tokenizer(
    token_type: str, *, bpemodel: Path | str | None = None, nlsyms: Path | str | None = None
) -> Callable[[str], Sequence[str]]:
    """text -> tokens. Plain characters need no ESPnet, whose import takes ten seconds."""
    if token_type not in TOKEN_TYPES:
        raise InputError(f"token_type: got {token_type!r}; expected one of {TOKEN_TYPES}. Change it.")
    if token_type == "char" and nlsyms is None:
        return lambda text: ["<space>" if c == " " else c for c in text]
    if token_type == "word" and nlsyms is None:
        return str.split
    with _quiet():
        from espnet2.text.build_tokenizer import build_tokenizer

    return build_tokenizer(
        token_type, bpemodel=None if bpemodel is None else str(bpemodel), non_linguistic_symbols=nlsyms
    ).text2tokens


def read_tokens(path: Path | str) -> list[str]:
    """The symbols of a token list, as ESPnet reads them; InputError where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return [line.rstrip() for line in file]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Expected a token list: run stage 5") from error


def read_texts(path: Path | str) -> dict[str, str]:
    """The transcripts of a data directory; raises InputError when they cannot be read."""
    problems: list[str] = []
    texts = read_table(Path(path) / "text", problems)
    raise_problems(problems, str(path), "Expected `utterance transcript` lines in UTF-8.")
    return texts


def make_token_list(
    train_dir: Path | str,
    token_list: Path | str,
    *,
    token_type: str = "char",
    nbpe: int = 30,
    bpemode: str = "unigram",
    nlsyms: Path | str | None = None,
    cutoff: int = 0,
) -> list[str]:
    """Write ``token_list`` (one symbol a line) from the training text and return it.

    ``cutoff``: symbols seen at most so often become ``<unk>``. bpe trains sentencepiece with
    ``nbpe`` pieces and puts ``bpe.model`` beside the list. Raises InputError when that many pieces
    cannot be learned, or when a training transcript is left with symbols outside the list
    although ``cutoff`` is 0.
    """
    tokenizer(token_type if token_type != "bpe" else "char", nlsyms=nlsyms)  # check the options first
    texts = read_texts(train_dir)
    path = Path(token_list)
    path.parent.mkdir(parents=True, exist_ok=True)
    if token_type == "bpe":
        model = _train_bpe(texts, path.parent, nbpe, bpemode, nlsyms)
        tokens = [BLANK, UNKNOWN, *_pieces(model), SOS_EOS]
        write_atomic(path, "".join(f"{line}\n" for line in tokens))
    else:
        tokens = _espnet_list(Path(train_dir) / "text", path, token_type, nlsyms, cutoff)
    bpemodel = path.parent / BPE_MODEL if token_type == "bpe" else None
    unknown = outside(tokens, texts, tokenizer(token_type, bpemodel=bpemodel, nlsyms=nlsyms))
    if unknown and cutoff == 0:
        path.unlink()
        raise InputError(f"{train_dir}: its own token list lacks {describe(unknown)}. Check the characters.")
    return tokens


@contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what ESPnet's import says: it tries a download, harmless when it fails, with lines of error messages."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def _espnet_list(text: Path, path: Path, token_type: str, nlsyms: Path | str | None, cutoff: int) -> list[str]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    options = ["--token_type", token_type, "--input", str(text), "--output", str(temporary), "--field", "2-"]
    options += ["--write_vocabulary", "true", "--cutoff", str(cutoff), "--log_level", "WARNING"]
    options += ["--add_symbol", f"{BLANK}:0", "--add_symbol", f"{UNKNOWN}:1", "--add_symbol", f"{SOS_EOS}:-1"]
    with _quiet():
        from espnet2.bin.tokenize_text import main

        main(options + (["--non_linguistic_symbols", str(nlsyms)] if nlsyms else []))
    temporary.rename(path)
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def _train_bpe(texts: dict[str, str], folder: Path, nbpe: int, bpemode: str, nlsyms: Path | str | None) -> Path:
    import sentencepiece

    symbols = Path(nlsyms).read_text(encoding="utf-8").split() if nlsyms else []
    prefix = folder / f".bpe.{os.getpid()}"
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts[utt] for utt in sorted(texts)),
            model_prefix=str(prefix),
            vocab_size=nbpe,
            model_type=bpemode,
            character_coverage=1.0,
            user_defined_symbols=symbols,
            minloglevel=2,
        )
        Path(f"{prefix}.model").rename(folder / BPE_MODEL)
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"bpe: sentencepiece cannot learn nbpe={nbpe} pieces of mode {bpemode} ({error}). "
            "Expected more pieces than different characters, fewer than the text supports. Change --nbpe."
        ) from error
    finally:
        for suffix in ("model", "vocab"):
            Path(f"{prefix}.{suffix}").unlink(missing_ok=True)
    return folder / BPE_MODEL


def _pieces(model: Path) -> list[str]:
    import sentencepiece

    loaded = sentencepiece.SentencePieceProcessor(model_file=str(model))
    every = range(loaded.get_piece_size())
    return [loaded.id_to_piece(i) for i in every if not (loaded.is_unknown(i) or loaded.is_control(i))]


def outside(tokens: Sequence[str], texts: dict[str, str], tokenize: Callable[[str], Sequence[str]]) -> Counter[str]:
    """How often each token that is not in the list occurs in the transcripts."""
    known = set(tokens)
    return Counter(token for text in texts.values() for token in tokenize(text) if token not in known)


def describe(unknown: Counter[str]) -> str:
    """``'é' (U+00E9) 12x, …`` for a message."""
    named = [f"{t!r} ({' '.join(f'U+{ord(c):04X}' for c in t)}) {n}x" for t, n in unknown.most_common(20)]
    return ", ".join(named) + (f" and {len(unknown) - 20} more" if len(unknown) > 20 else "")
