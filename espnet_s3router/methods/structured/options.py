"""Options that methods of structured pruning share: how much is removed, counted by which cost, from which units."""

from dataclasses import dataclass
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.methods.options import check, check_choice, check_path
from espnet_s3router.methods.structured.place import UNITS

VARIANTS = ("size", "macs", "sep_macs")


@dataclass(frozen=True, kw_only=True)
class UnitOptions:
    """How many units are removed."""

    sparsity: float
    """Share of the cost of the upstream that is removed, in (0, 1). With sep_macs: of the Transformer's MACs."""
    variant: str = "macs"
    """The cost. size: parameters. macs: MACs. sep_macs: those of the convolutional frontend and of the Transformer, each."""
    cnn_sparsity: float | None = None
    """With sep_macs: the share of the frontend's MACs that is removed; ``sparsity`` by default."""
    units: tuple[str, ...] = UNITS
    """What may be removed: conv (channels of the frontend), attention (heads), feed_forward (inner units)."""
    seconds: float = 10.0
    """Length of the utterance whose MACs count; the cost of attention grows with it."""
    train_cnn: bool = True
    """Train the convolutional frontend too, so that it can adapt to removed channels."""
    start: str | None = None
    """Model file of a finished run of method ``finetune`` on the same upstream: initial weights and head."""

    def __post_init__(self) -> None:
        if isinstance(self.units, list):
            object.__setattr__(self, "units", tuple(self.units))
        for name in ("sparsity", "cnn_sparsity"):
            value: Any = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            optional = name == "cnn_sparsity" and value is None
            check(optional or number and 0.0 < value < 1.0, name, value, "a share to remove in (0, 1), for example 0.4")
        check_choice("variant", self.variant, VARIANTS)
        known = isinstance(self.units, tuple) and len(self.units) > 0 and set(self.units) <= set(UNITS)
        check(known, "units", self.units, f"some of {', '.join(UNITS)}")
        check(
            0.025 < self.seconds < float("inf"), "seconds", self.seconds, "a length in seconds above 0.025, the first frame"
        )
        check_path("start", self.start)
        self._check_variant()

    def _check_variant(self) -> None:
        """Raises InputError for units and shares that contradict the variant."""
        if self.variant == "sep_macs":
            needed = "conv" in self.units and len(self.units) > 1
            check(needed, "units", self.units, "conv and at least one of attention and feed_forward with variant sep_macs")
        elif self.cnn_sparsity is not None:
            raise InputError(f"mask_conf: cnn_sparsity with variant {self.variant} is a contradiction. Remove one of them")
