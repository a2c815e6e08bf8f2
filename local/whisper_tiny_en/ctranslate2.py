"""Read a Whisper model from CTranslate2's ``model.bin`` with numpy alone, and give its tensors the names of transformers.

Format (version 6, little-endian): version, name and revision of the kind of model, number of variables. For each variable:
name, rank (1 byte), dimensions, type (1 byte), size in bytes, content. Then aliases as pairs of names. A number takes
4 bytes. A name is its length with the closing zero (2 bytes) and its characters. q, k and v of an attention share a matrix.
"""

import re
import struct
from dataclasses import dataclass

import numpy as np

from espnet_s3router.errors import InputError

VERSION, KIND = 6, "WhisperSpec"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
"""Type by number. numpy lacks type 5, bfloat16."""

NAME = re.compile(r"(encoder|decoder)/(?:layer_(\d+)/)?(.+)/(\w+)")
"""Half of the model, layer (absent outside layers), module, tensor."""
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
"""Modules inside a layer: the name in CTranslate2 -> the names in transformers, whose rows are stacked in this order."""
OUTSIDE = {
    "conv1": ("conv1",),
    "conv2": ("conv2",),
    "layer_norm": ("layer_norm",),
    "embeddings": ("embed_tokens",),
    "position_encodings": ("embed_positions",),
}
"""Modules outside the layers."""
TENSORS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}


@dataclass
class Reader:
    """Reads values from ``content`` one after the other."""

    content: bytes
    position: int = 0

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes. Raises InputError if fewer are left."""
        taken = self.content[self.position : self.position + size]
        if len(taken) < size:
            raise InputError(
                f"model.bin ends at byte {len(self.content)} within a variable: it is not complete. Get it again"
            )
        self.position += size
        return taken

    def number(self, code: str = "I") -> int:
        """The next number; ``code`` is its format in the module struct."""
        return struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]

    def name(self) -> str:
        """The next name."""
        return self.take(self.number("H")).rstrip(b"\0").decode("ascii", errors="replace")


def read_model_bin(content: bytes) -> dict[str, np.ndarray]:
    """All variables of a ``model.bin`` by their names in CTranslate2.

    Raises InputError for another version or kind of model, for an unknown type and for an incomplete file.
    """
    reader = Reader(content)
    version = reader.number()
    kind = reader.name() if version == VERSION else "unknown"
    if kind != KIND:
        raise InputError(f"model.bin has version {version}, kind {kind!r}; expected version {VERSION}, kind {KIND!r}")
    reader.number()  # the revision concerns the computation in CTranslate2, not the file
    variables = {}
    for _ in range(reader.number()):
        name = reader.name()
        shape = tuple(reader.number() for _ in range(reader.number("B")))
        number_type, size = reader.number("B"), reader.number()
        if number_type not in TYPES:
            raise InputError(f"model.bin: {name} is of type {number_type}, expected one of {sorted(TYPES)}")
        values = np.frombuffer(reader.take(size), np.dtype(TYPES[number_type]).newbyteorder("<"))
        if values.size != np.prod(shape, dtype=int):
            raise InputError(f"model.bin: {name} has {values.size} values, expected {shape}")
        variables[name] = values.reshape(shape)
    return variables


def whisper_tensors(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights among ``variables`` by their names in transformers' ``WhisperModel`` (``encoder.conv1.weight``, …).

    Raises InputError for an unknown weight, and for a bias on keys, because Whisper has none.
    """
    tensors: dict[str, np.ndarray] = {}
    for name, values in variables.items():
        if values.ndim == 0:  # a setting, not a weight
            continue
        half, layer, module, tensor = match.groups() if (match := NAME.fullmatch(name)) else [""] * 4
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
