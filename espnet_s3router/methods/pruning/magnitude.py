"""Methods that prune once, gradually or in rounds, and finetune the remaining weights: mpi, rp, omp, imp."""

from dataclasses import dataclass

from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks.ranking import n_of_m
from espnet_s3router.methods.options import check, check_count, require_start
from espnet_s3router.methods.pruning.in_place import PruneConfig, Pruned
from espnet_s3router.methods.schedule import Ramp, Rounds, ScheduleOptions, rounds_of


@dataclass(frozen=True, kw_only=True)
class MpiConfig(ScheduleOptions, PruneConfig):
    """Magnitude pruning of the initial weights, then finetuning of the rest.

    With a schedule it is gradual magnitude pruning, which ranks the present weights at each pruning.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_schedule(self.sparsity, self.ranking)
        self.refuse_idle_interval()


@dataclass(frozen=True, kw_only=True)
class RpConfig(MpiConfig):
    """Random pruning, then finetuning of the rest."""

    seed: int = 0
    """Seed of the choice of weights."""


@dataclass(frozen=True, kw_only=True)
class OmpConfig(PruneConfig):
    """One-shot magnitude pruning of a finetuned model (``start``), then finetuning of the rest."""

    rewind: str | bool = True
    """Values that the remaining weights return to. true: those of the pretrained model. start: those of ``start``.
    false: they keep what they have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_start(self.start)
        check(isinstance(self.rewind, bool) or self.rewind == "start", "rewind", self.rewind, "true, false or start")


@dataclass(frozen=True, kw_only=True)
class ImpConfig(OmpConfig):
    """Iterative magnitude pruning of a finetuned model (``start``) in rounds: prune, rewind, finetune."""

    rounds: int = None  # type: ignore[assignment]  # __post_init__ sets it
    """Number of rounds in the run, 3 by default. The first prunes ``start``, the last has the final sparsity. Each removes
    the same share of the remaining weights."""
    step: float | None = None
    """Instead of ``rounds``: the share of all weights that each round removes. The first round is dense. PARP's code has 0.1
    with ``rewind: start``."""
    updates: int | None = None
    """Updates of the whole run (as the scheduler's max_steps), divided equally among the rounds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._take_step()
        check_count("rounds", self.rounds, 1)
        check_count("updates", self.updates, self.rounds)
        check(self.updates is not None, "updates", None, "the updates of the whole run, which the rounds share")
        if self.rounds > 1 and n_of_m(self.ranking) is not None:
            raise InputError(f"mask_conf: ranking {self.ranking} with {self.rounds} rounds is a contradiction: N:M is fixed")

    def _take_step(self) -> None:
        """Sets ``rounds`` to its default, or to the number that ``step`` needs."""
        rounds = 3
        if self.step is not None:
            check(0.0 < self.step < 1.0, "step", self.step, "a share of all weights in (0, 1), for example 0.1")
            rounds = rounds_of(self.sparsity, self.step)
            if self.rounds not in (None, rounds):
                raise InputError(
                    f"mask_conf: rounds {self.rounds} with step {self.step} is a contradiction: "
                    f"sparsity {self.sparsity} needs {rounds} rounds. Remove one of them"
                )
        if self.rounds is None:
            object.__setattr__(self, "rounds", rounds)


def mpi(upstream: nn.Module, config: MpiConfig) -> Pruned:
    """Prune the pretrained model, or that of ``start``, by magnitude; finetune the rest."""
    return Pruned.of(upstream, config, schedule=config.ramp(config.sparsity))


def rp(upstream: nn.Module, config: RpConfig) -> Pruned:
    """Prune random weights; finetune the rest."""
    return Pruned.of(upstream, config, schedule=config.ramp(config.sparsity), seed=config.seed)


def omp(upstream: nn.Module, config: OmpConfig) -> Pruned:
    """Prune a finetuned model once by magnitude, rewind, finetune the rest. The head of ``start`` is not rewound."""
    return Pruned.of(upstream, config, schedule=Ramp(target=config.sparsity), rewind=config.rewind)


def imp(upstream: nn.Module, config: ImpConfig) -> Pruned:
    """Prune iteratively in one run. The head and the learning-rate schedule continue through the rounds."""
    rounds = Rounds(target=config.sparsity, rounds=config.rounds, updates=config.updates or 0, step=config.step)
    return Pruned.of(upstream, config, schedule=rounds, rewind=config.rewind)
