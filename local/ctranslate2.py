"""Read a Whisper out of CTranslate2's ``model.bin`` with numpy alone, under the names that transformers gives its tensors.

The format (version 6, little-endian): version, name and revision of the model's kind, the number of variables; for each its
name, rank (1 byte), dimensions, type (1 byte), bytes and content; then aliases as pairs of names. Numbers are 4 bytes each;
a name is its length with the closing zero (2 bytes) and its characters. q, k and v of an attention lie in one matrix.
"""

import re
import struct
from dataclasses import dataclass, field

import numpy as np

from espnet_s3router.errors import InputError

VERSION, KIND = 6, "WhisperSpec"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
"""Types by their number; 5, bfloat16, is none of numpy's."""

NAME = re.compile(r"(encoder|decoder)/(?:layer_(\d+)/)?(.+)/(\w+)")
"""Half, layer (if it lies in one), module and tensor."""
LAYER = {
    "self_attention/layer_norm": ("self_attn_layer_norm",),
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/layer_norm": ("encoder_attn_layer_norm",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
    "ffn/layer_norm": ("final_layer_norm",),
    "ffn/linear_0": ("fc1",),
    "ffn/linear_1": ("fc2",),
}
"""Modules of a layer: CTranslate2's name -> transformers' names, of which it stacks the rows."""
OUTSIDE = {
    "conv1": ("conv1",),
    "conv2": ("conv2",),
    "layer_norm": ("layer_norm",),
    "embeddings": ("embed_tokens",),
    "position_encodings": ("embed_positions",),
}
TENSORS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}


@dataclass
class Reader:
    """Takes one thing after the other from ``content``."""

    content: bytes
    position: int = field(default=0)

    def take(self, size: int) -> bytes:
        taken = self.content[self.position : self.position + size]
        if len(taken) < size:
            raise InputError(
                f"model.bin ends at byte {len(self.content)} within a variable: it is not complete. Get it again"
            )
        self.position += size
        return taken

    def number(self, code: str = "I") -> int:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]

    def name(self) -> str:
        return self.take(self.number("H")).rstrip(b"\0").decode("ascii", errors="replace")


def read_model_bin(content: bytes) -> dict[str, np.ndarray]:
    """All variables of a ``model.bin`` by CTranslate2's names; InputError for another version or kind, or a cut file."""
    reader = Reader(content)
    version = reader.number()
    kind = reader.name() if version == VERSION else "unknown"
    if kind != KIND:
        raise InputError(f"model.bin has version {version}, kind {kind!r}; expected version {VERSION}, kind {KIND!r}")
    reader.number()  # revision of the kind: of what CTranslate2 computes, not of the file
    variables = {}
    for _ in range(reader.number()):
        name = reader.name()
        shape = tuple(reader.number() for _ in range(reader.number("B")))
        kind_of_number, size = reader.number("B"), reader.number()
        if kind_of_number not in TYPES:
            raise InputError(f"model.bin: {name} is of type {kind_of_number}, expected one of {sorted(TYPES)}")
        values = np.frombuffer(reader.take(size), np.dtype(TYPES[kind_of_number]).newbyteorder("<"))
        if values.size != np.prod(shape, dtype=int):
            raise InputError(f"model.bin: {name} has {values.size} values, expected {shape}")
        variables[name] = values.reshape(shape)
    return variables


def whisper_tensors(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights among ``variables`` under the names of transformers' ``WhisperModel`` (``encoder.conv1.weight`` …).

    InputError for a weight that is unknown, or a bias on keys, which a Whisper does not have.
    """
    tensors: dict[str, np.ndarray] = {}
    for name, values in variables.items():
        if values.ndim == 0:  # a setting
            continue
        half, layer, module, tensor = found.groups() if (found := NAME.fullmatch(name)) else [""] * 4
        targets = (LAYER if layer else OUTSIDE).get(module, ())
        if not targets or tensor not in TENSORS:
            raise InputError(f"model.bin: {name} is no weight of a Whisper, expected one such as encoder/conv1/weight")
        prefix = f"{half}.layers.{layer}." if layer else f"{half}."
        for target, part in zip(targets, np.split(values, len(targets))):
            if target.endswith("k_proj") and TENSORS[tensor] == "bias":
                if part.any():
                    raise InputError(f"model.bin: {name} gives keys a bias, expected zeros: a Whisper's keys have none")
                continue
            tensors[f"{prefix}{target}.{TENSORS[tensor]}"] = part
    return tensors
