"""The options of a pretraining YAML file."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml
from espnet_s3router.pretraining.batches import BatchConfig
from espnet_s3router.pretraining.model import MaskConfig, hubert_config
from espnet_s3router.text_format import refuse_numbers_as_text


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with a linear rise and a linear fall of the learning rate."""

    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise InputError(f"optim: lr is {self.lr}, expected a number above 0")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A pretraining YAML file."""

    model: dict[str, Any]
    mask: MaskConfig
    batch: BatchConfig
    optim: OptimConfig
    mel_start: bool
    seed: int

    @classmethod
    def read(cls, path: Path) -> "Config":
        """Read a file. Raises InputError for an unknown key or a value outside its range."""
        defaults: dict[str, Any] = {"model": {}, "mask": {}, "batch": {}, "optim": {}, "mel_start": False, "seed": 0}
        options = defaults | read_yaml(path)
        refuse_numbers_as_text(options, str(path))
        kinds = {"mask": MaskConfig, "batch": BatchConfig, "optim": OptimConfig}
        try:
            parts: dict[str, Any] = {name: kind(**options.pop(name)) for name, kind in kinds.items()}
            return cls(**parts, **options)
        except TypeError as error:
            known = ", ".join([*options, *kinds])
            raise InputError(f"{path}: {error}. Known: {known} and the options of each") from error


def run(args: argparse.Namespace) -> None:
    """Check a configuration and the number of the layer that will be clustered."""
    layers = hubert_config(Config.read(args.config).model).num_hidden_layers
    if not 1 <= args.layer <= layers:
        raise InputError(f"--layer is {args.layer}, and the model of {args.config} has layers 1 to {layers}")
