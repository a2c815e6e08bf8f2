"""What a pretraining YAML file may say.

python -m espnet_s3router.pretraining.config conf/hubert_mini.yaml --layer 4     checks it, before hours of work
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import read_yaml
from espnet_s3router.pretraining.batches import BatchConfig
from espnet_s3router.pretraining.model import MaskConfig, hubert_config


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
        """InputError for an unknown key or a value outside its range."""
        given = {"model": {}, "mask": {}, "batch": {}, "optim": {}, "mel_start": False, "seed": 0} | read_yaml(path)
        kinds = {"mask": MaskConfig, "batch": BatchConfig, "optim": OptimConfig}
        try:
            parts: dict[str, Any] = {name: kind(**given.pop(name)) for name, kind in kinds.items()}
            return cls(**parts, **given)
        except TypeError as error:
            known = ", ".join([*given, *kinds])
            raise InputError(f"{path}: {error}. Known: {known} and the options of each") from error


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Check a configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--layer", type=int, default=1, help="whose output is to be clustered")
    args = parser.parse_args(argv)
    layers = hubert_config(Config.read(args.config).model).num_hidden_layers
    if not 1 <= args.layer <= layers:
        raise InputError(f"--layer is {args.layer}, and the model of {args.config} has layers 1 to {layers}")


if __name__ == "__main__":
    raise SystemExit(main())
