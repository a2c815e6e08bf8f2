"""Configurations of the pruning methods, validated as those in ``config``."""

from dataclasses import dataclass

from espnet_s3router.errors import InputError
from espnet_s3router.masks.select import ROUNDINGS
from espnet_s3router.methods.gradual import GradualConfig, check_count
from espnet_s3router.methods.options import RoutingConfig, check, check_pattern, check_sparsity, check_targets, n_of_m

RANKINGS = ("global", "matrix")
FORMS = ("hard_threshold", "remask")


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    """Weights of the usual finetune set train, some of them are held at zero."""

    sparsity: float
    """Fraction of the target tensors that is removed at the end, in [0, 1)."""
    targets: str | tuple[str, ...] = "all"
    """feed_forward, attention, all, or fnmatch patterns of tensor paths."""
    ranking: str = "global"
    """global (one ranking over all targets, as PARP's code), matrix (each tensor alone), or N:M such as 2:4."""
    biases: bool = False
    """Let the biases of the target matrices be ranked and removed with them, as PARP's code does."""
    rounding: str = "nearest"
    """nearest, or reference: the count of the S3-Router code."""
    train_cnn: bool = False
    """Train the convolutional frontend too; must be as in the run that ``start`` comes from."""
    start: str | None = None
    """Model file of a finished run of method ``finetune`` on the same upstream: weights and head begin from there."""

    def __post_init__(self) -> None:
        if isinstance(self.targets, list):
            object.__setattr__(self, "targets", tuple(self.targets))
        check_sparsity("sparsity", self.sparsity)
        check_targets(self.targets)
        check(self.rounding in ROUNDINGS, "rounding", self.rounding, f"one of {', '.join(ROUNDINGS)}")
        check_pattern(self.ranking, self.sparsity, RANKINGS)
        check_path("start", self.start)
        if self.biases and n_of_m(self.ranking) is not None:
            raise InputError(f"mask_conf: biases with ranking {self.ranking} is a contradiction: a bias has no inputs")


@dataclass(frozen=True, kw_only=True)
class MpiConfig(GradualConfig, PruneConfig):
    """Magnitude pruning of the weights that training starts from; the rest is finetuned. A schedule makes it gradual
    magnitude pruning: the ranking is then that of the weights as they are at each pruning."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_schedule(self.sparsity, self.ranking)
        self.refuse_idle_interval()


@dataclass(frozen=True, kw_only=True)
class RpConfig(MpiConfig):
    """Random pruning; the rest is finetuned."""

    seed: int = 0
    """Decides which weights go."""


@dataclass(frozen=True, kw_only=True)
class OmpConfig(PruneConfig):
    """One-shot magnitude pruning of a finetuned model (``start``); the rest is finetuned once more."""

    rewind: bool = True
    """Begin again from the pretrained values of what is left; false: from the finetuned ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_start(self.start)


@dataclass(frozen=True, kw_only=True)
class ImpConfig(OmpConfig):
    """Iterative magnitude pruning from a finetuned model (``start``): prune, rewind, finetune, round after round."""

    rounds: int = 3
    """How often, in one run: the first pruning is that of ``start``, the last round is at ``sparsity``."""
    updates: int | None = None
    """Updates of the whole run (as the scheduler's max_steps), shared equally by the rounds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("rounds", self.rounds, 1)
        check_count("updates", self.updates, self.rounds)
        check(self.updates is not None, "updates", None, "the updates of the whole run, which the rounds share")
        if self.rounds > 1 and n_of_m(self.ranking) is not None:
            raise InputError(f"mask_conf: ranking {self.ranking} with {self.rounds} rounds is a contradiction: N:M is fixed")


@dataclass(frozen=True, kw_only=True)
class ParpConfig(MpiConfig):
    """PARP: all weights train, removed ones may grow back, and every so often the smallest are removed anew."""

    form: str = "hard_threshold"
    """hard_threshold (the authors' code) or remask (the paper's description), see ``methods.parp``."""
    interval_epochs: int | None = None
    """Epochs between two prunings, instead of ``interval``."""
    initial_mask: str | None = None
    """Model file of another run on the same upstream, of another language say: its scores or its weights are ranked for
    the first mask instead of the weights that training starts from."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.form in FORMS, "form", self.form, f"one of {', '.join(FORMS)}")
        check_count("interval_epochs", self.interval_epochs, 1)
        check_path("initial_mask", self.initial_mask)
        if self.initial_mask is not None and self.schedule != "constant" and not self.initial_sparsity:
            raise InputError("mask_conf: initial_mask with a ramp from 0 would remove nothing: set initial_sparsity too")

    def refuse_idle_interval(self) -> None:
        if self.interval is not None and self.interval_epochs is not None:
            raise InputError("mask_conf: interval and interval_epochs exclude each other: remove one of them")


@dataclass(frozen=True, kw_only=True)
class ParpPConfig(ParpConfig):
    """PARP-P: the sparsity rises from a lower one while the weights are adjusted."""

    schedule: str = "linear"
    """linear (the paper's) or cubic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.schedule != "constant", "schedule", self.schedule, "linear or cubic (constant is method parp)")


@dataclass(frozen=True, kw_only=True)
class RoutingPruneConfig(GradualConfig, RoutingConfig):
    """S3-Router-P: masks over attention and feed-forward are learned; the weights are those of ``start``."""

    targets: str | tuple[str, ...] = "all"
    """As for ``routing``."""
    init: str = "magnitude"
    """As for ``routing``; magnitude is W / scale."""
    train_cnn: bool = False
    """Whether the run that ``start`` comes from trained the convolutional frontend."""
    start: str | None = None
    """Model file of a finished run of method ``finetune`` on the same upstream."""
    initial_sparsity: float | None = None
    """Where a ramp begins; 0 if not given. Scores move from the first update and decide nothing at 0, so where the weights
    stand still give .5, say, or a short ``interval``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("start", self.start)
        require_start(self.start)
        self.check_schedule(self.sparsity, self.ranking)
        self.refuse_idle_interval()


def check_path(name: str, value: object) -> None:
    """A file name, or None. Whether the file is there is asked when training starts: decoding does not need it."""
    check(value is None or isinstance(value, str) and value != "", name, value, "the path of a model file (.pth)")


def require_start(start: str | None) -> None:
    """InputError where a method that needs a finetuned model is given none."""
    check(start is not None, "start", start, "a model file (such as valid.cer_ctc.ave.pth) of a finished finetune run")
