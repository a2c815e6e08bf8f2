"""The folder of a model in ONNX: ``model.onnx``, ``vocab.txt`` and ``config.json``, as the package onnx-asr reads them.

onnx-asr calls this type ``wav2vec2-ctc`` (its pull request 135). The graph takes ``input_values`` (batch, samples) and
``input_lengths`` (batch,), and gives ``logprobs`` (batch, frames, tokens). Keys of config.json that onnx-asr does not know
are ours.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.text_files import read_lines

MODEL, INT8, VOCAB, CONFIG = "model.onnx", "model.int8.onnx", "vocab.txt", "config.json"
INPUTS, OUTPUT = ("input_values", "input_lengths"), "logprobs"
MODEL_TYPE = "wav2vec2-ctc"
BANK_TYPE = "s3router-bank"
"""``model_type`` of a graph that serves many languages; each has a file of its own."""
BLANK, SPACE = "<blk>", "\u2581"
"""How vocab.txt writes the blank and the space."""
HOW_TO_EXPORT = "Expected a folder that s3router export wrote"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What config.json says of a model. Lengths are samples at 16 kHz."""

    model_type: str = MODEL_TYPE
    subsampling_factor: int = 320
    """From one frame to the next."""
    first_frame: int = 400
    """What the first frame needs. Shorter audio has no frame."""
    longest: int | None = None
    """The most that the graph takes at a time; None for any length."""
    token_type: str = "char"


def vocabulary(tokens: Sequence[str], blank: int, token_type: str) -> list[str]:
    """The tokens as vocab.txt spells them: joined and with SPACE as a space, they are the text."""
    spelled = list(tokens)
    if token_type in ("word", "phn"):
        spelled = [SPACE + token for token in tokens]
    spelled = [SPACE if token == "<space>" else word for token, word in zip(tokens, spelled)]
    spelled[blank] = BLANK
    return spelled


def write_vocabulary(folder: Path, spelled: Sequence[str]) -> None:
    """Write vocab.txt: a token and its number on each line. Raises InputError for a token with white space."""
    odd = [token for token in spelled if len(token.split()) != 1]
    if odd:
        raise InputError(
            f"token {odd[0]!r} is empty or holds white space, which vocab.txt cannot hold: train with other tokens"
        )
    (folder / VOCAB).write_text("".join(f"{token} {n}\n" for n, token in enumerate(spelled)), encoding="utf-8", newline="\n")


def read_vocabulary(folder: Path) -> list[str]:
    """The tokens of vocab.txt in the order of their numbers."""
    path = folder / VOCAB
    pairs = [line.rsplit(" ", 1) for line in read_lines(path, expected="tokens with their numbers") if line]
    if [number for *_, number in pairs] != [str(n) for n in range(len(pairs))] or not pairs:
        raise InputError(f"{path}: expected a token and its number on each line, from 0. {HOW_TO_EXPORT}")
    tokens = [pair[0] for pair in pairs]
    if BLANK not in tokens:
        raise InputError(f"{path}: the blank {BLANK} is missing. {HOW_TO_EXPORT}")
    return tokens


def write_description(folder: Path, description: Description) -> None:
    """Write config.json."""
    (folder / CONFIG).write_text(json.dumps(asdict(description), indent=1) + "\n", encoding="utf-8")


def read_description(folder: Path) -> Description:
    """What config.json says; keys that are not ours are ignored. Raises InputError for another kind of file."""
    path = folder / CONFIG
    text = "\n".join(read_lines(path, expected="the description of an ONNX model"))
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}). {HOW_TO_EXPORT}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}, expected an object. {HOW_TO_EXPORT}")
    known = {field.name: content[field.name] for field in fields(Description) if field.name in content}
    description = Description(**{"model_type": None, **known})
    if description.model_type not in (MODEL_TYPE, BANK_TYPE):
        raise InputError(
            f"{path}: model_type is {description.model_type!r}, expected {MODEL_TYPE} or {BANK_TYPE}. {HOW_TO_EXPORT}"
        )
    return description


def model_path(path: str | Path) -> Path | None:
    """The .onnx file that a path names: the file itself, or ``model.onnx`` in a folder. None for any other path."""
    path = Path(path)
    if path.suffix == ".onnx":
        return path
    return path / MODEL if (path / MODEL).is_file() else None


def text_of(spelled: Sequence[str], ids: Sequence[int]) -> str:
    """The text of token numbers, with single spaces between words; ``spelled`` as in vocab.txt."""
    return " ".join("".join(spelled[number] for number in ids).replace(SPACE, " ").split())
