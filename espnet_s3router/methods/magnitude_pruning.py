"""Methods that prune once, gradually or in rounds, and finetune the remaining weights: mpi, rp, omp, imp."""

from dataclasses import dataclass

from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks.ranking import n_of_m
from espnet_s3router.methods.in_place_pruning import PruneConfig, Pruned
from espnet_s3router.methods.options import check, check_count, require_start
from espnet_s3router.methods.schedule import Ramp, Rounds, ScheduleOptions


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

    rewind: bool = True
    """Start the remaining weights from their pretrained values; false: from the finetuned ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_start(self.start)


@dataclass(frozen=True, kw_only=True)
class ImpConfig(OmpConfig):
    """Iterative magnitude pruning of a finetuned model (``start``) in rounds: prune, rewind, finetune."""

    rounds: int = 3
    """Number of rounds in the run. The first prunes ``start``, the last has the final sparsity."""
    updates: int | None = None
    """Updates of the whole run (as the scheduler's max_steps), divided equally among the rounds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("rounds", self.rounds, 1)
        check_count("updates", self.updates, self.rounds)
        check(self.updates is not None, "updates", None, "the updates of the whole run, which the rounds share")
        if self.rounds > 1 and n_of_m(self.ranking) is not None:
            raise InputError(f"mask_conf: ranking {self.ranking} with {self.rounds} rounds is a contradiction: N:M is fixed")


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
    rounds = Rounds(target=config.sparsity, rounds=config.rounds, updates=config.updates or 0)
    return Pruned.of(upstream, config, schedule=rounds, rewind=config.rewind)
