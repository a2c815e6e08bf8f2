"""Stage 5: make the token list from the training text, and count the tokens of other texts that it lacks.

    python -m espnet_s3router.data tokens dump/raw/TRAIN data/token_list/char/tokens.txt \
        --check dump/raw/DEV dump/raw/TEST

The order is that of ESPnet's recipes: ``<blank>``, ``<unk>``, the tokens by falling frequency in the training
text (a space is ``<space>``), ``<sos/eos>``. With bpe, the sentencepiece model lies beside the list.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.files import write_atomic
from espnet_s3router.text_files import Table, read_symbols, read_table

BLANK, UNKNOWN, SOS_EOS = "<blank>", "<unk>", "<sos/eos>"
TOKEN_TYPES = ("char", "bpe", "word")
BPE_MODEL = "bpe.model"  # file name, beside the token list

Tokenize = Callable[[str], Sequence[str]]


def tokenizer(token_type: str, *, bpemodel: Path | str | None = None, nlsyms: Path | str | None = None) -> Tokenize:
    """A function text -> tokens, equal to ESPnet's tokenizer without the ten seconds of importing ESPnet.

    ``nlsyms``: file of symbols that ``char`` does not split, the longest first; ``word`` and ``bpe`` ignore it. Raises
    InputError for an unknown type, for a faulty file of symbols and for bpe without ``bpemodel``.
    """
    if token_type not in TOKEN_TYPES:
        raise InputError(f"token_type: got {token_type!r}; expected one of {TOKEN_TYPES}. Change it.")
    if token_type == "word":
        return str.split
    if token_type == "char":
        symbols = sorted(read_symbols(nlsyms, allow_prefixes=True), key=len, reverse=True) if nlsyms else []
        token = re.compile("|".join([*map(re.escape, symbols), "."]), re.DOTALL)
        return lambda text: ["<space>" if t == " " else t for t in token.findall(text)]
    if bpemodel is None:
        raise InputError("token_type bpe: got no bpemodel; expected the sentencepiece model of stage 5. Pass --bpemodel.")
    return _load_bpe(bpemodel).encode_as_pieces


def read_texts(path: Path | str, name: str = "text") -> Table:
    """The transcripts of a data directory, from its table ``name``. Raises InputError when they cannot be read."""
    problems: list[str] = []
    texts = read_table(Path(path) / name, problems, words=True)
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
) -> list[str]:
    """Write ``token_list`` (one token a line) from the training text and return its tokens.

    With bpe, sentencepiece learns ``nbpe`` pieces, and ``bpe.model`` lies beside the list. Raises InputError when
    sentencepiece cannot learn that many pieces, and when the list lacks tokens of the training text.
    """
    texts = read_texts(train_dir)
    path = Path(token_list)
    if token_type == "char" and nlsyms:  # ESPnet's characters take any symbol that fits, sentencepiece the longest
        read_symbols(nlsyms)
    if token_type == "bpe":
        model = path.parent / BPE_MODEL
        _train_bpe(texts, model, nbpe, bpemode, nlsyms)
        tokenize = tokenizer(token_type, bpemodel=model)
        learned = _pieces(model)
    else:
        tokenize = tokenizer(token_type, nlsyms=nlsyms)
        learned = _by_frequency(texts, tokenize)
    tokens = [BLANK, UNKNOWN, *(token for token in learned if token != UNKNOWN), SOS_EOS]  # <unk> may be a symbol too
    unknown = outside(tokens, texts, tokenize)
    if unknown:
        path.unlink(missing_ok=True)
        raise InputError(f"{train_dir}: its own token list lacks {describe(unknown)}. Check the characters.")
    write_atomic(path, "".join(f"{token}\n" for token in tokens))
    return tokens


def _by_frequency(texts: Table, tokenize: Tokenize) -> list[str]:
    """Tokens by falling frequency; at equal frequency in the order of the text."""
    counts = Counter(token for text in texts.values() for token in tokenize(text))
    return [token for token, _ in counts.most_common()]


def _train_bpe(texts: Table, model: Path, nbpe: int, bpemode: str, nlsyms: Path | str | None) -> None:
    import sentencepiece

    symbols = read_symbols(nlsyms, allow_prefixes=True) if nlsyms else []
    if used := [utt for utt in texts if UNKNOWN in texts[utt]]:
        raise InputError(
            f"bpe: {len(used)} transcripts, the first of {used[0]!r}, hold {UNKNOWN}, which sentencepiece reserves. Write "
            "another symbol such as <other> in the transcripts, and list it in the file of --nlsyms_txt."
        )
    trained = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts[utt] for utt in sorted(texts)),
            model_writer=trained,
            vocab_size=nbpe,
            model_type=bpemode,
            character_coverage=1.0,
            user_defined_symbols=[symbol for symbol in symbols if symbol != UNKNOWN],
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"bpe: sentencepiece cannot learn nbpe={nbpe} pieces of mode {bpemode} ({error}). "
            "Expected more pieces than different characters, fewer than the text supports. Change --nbpe."
        ) from error
    write_atomic(model, trained.getvalue())


def _load_bpe(model: Path | str):
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(model))


def _pieces(model: Path) -> list[str]:
    loaded = _load_bpe(model)
    ids = range(loaded.get_piece_size())
    return [loaded.id_to_piece(i) for i in ids if not (loaded.is_unknown(i) or loaded.is_control(i))]


def outside(tokens: Iterable[str], texts: Table, tokenize: Tokenize) -> Counter[str]:
    """The number of times that each token outside the list occurs in the transcripts."""
    known = set(tokens)
    return Counter(token for text in texts.values() for token in tokenize(text) if token not in known)


def describe(unknown: Counter[str]) -> str:
    """The 20 most frequent tokens for a message: ``'é' (U+00E9) 12x, …``."""
    named = [f"{t!r} ({' '.join(f'U+{ord(c):04X}' for c in t)}) {n}x" for t, n in unknown.most_common(20)]
    return ", ".join(named) + (f" and {len(unknown) - 20} more" if len(unknown) > 20 else "")
