"""The methods that prune once or in rounds and finetune what is left: mpi, rp, omp, imp."""

from collections.abc import Mapping
from typing import TypeVar

from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Site
from espnet_s3router.methods.finetune import finetuned
from espnet_s3router.methods.in_place_pruning import Pruned
from espnet_s3router.methods.options import n_of_m
from espnet_s3router.methods.pruning_config import ImpConfig, MpiConfig, OmpConfig, PruneConfig, RpConfig
from espnet_s3router.methods.ranking import Ranking
from espnet_s3router.methods.routing import sites_of
from espnet_s3router.methods.schedule import Ramp, Rounds, Schedule

P = TypeVar("P", bound=Pruned)


def mpi(upstream: nn.Module, config: MpiConfig) -> Pruned:
    """Magnitude pruning of the pretrained model (or of ``start``), then finetuning of the rest."""
    return prunable(upstream, config, Pruned, schedule=config.ramp(config.sparsity))


def rp(upstream: nn.Module, config: RpConfig) -> Pruned:
    """Random pruning, then finetuning of the rest."""
    return prunable(upstream, config, Pruned, schedule=config.ramp(config.sparsity), seed=config.seed)


def omp(upstream: nn.Module, config: OmpConfig) -> Pruned:
    """One-shot magnitude pruning of a finetuned model, then finetuning of the rest. The head of ``start`` is kept: it has no
    pretrained value to return to."""
    return prunable(upstream, config, Pruned, schedule=Ramp(target=config.sparsity), rewind=config.rewind)


def imp(upstream: nn.Module, config: ImpConfig) -> Pruned:
    """Iterative magnitude pruning in one run. The head and the learning-rate schedule go on through the rounds."""
    rounds = Rounds(target=config.sparsity, rounds=config.rounds, updates=config.updates or 0)
    return prunable(upstream, config, Pruned, schedule=rounds, rewind=config.rewind)


def prunable(
    upstream: nn.Module,
    config: PruneConfig,
    kind: type[P],
    *,
    schedule: Schedule,
    seed: int | None = None,
    rewind: bool = False,
) -> P:
    """A handle that trains the usual finetune set of ``upstream`` and will prune its targets."""
    trained = finetuned(upstream, config.train_cnn)
    sites = prunable_tensors(sites_of(upstream, config.targets), trained, config)
    return kind(
        upstream=upstream,
        trained=trained,
        startable=trained,
        sites=sites,
        ranking=Ranking(config.ranking, config.rounding),
        schedule=schedule,
        settled=schedule.last,
        seed=seed,
        rewind=rewind,
    )


def prunable_tensors(sites: list[Site], trained: Mapping[str, nn.Parameter], config: PruneConfig) -> dict[str, nn.Parameter]:
    """The tensors of the sites, with the biases of their modules if asked; InputError where one is not trained or does not
    divide into N:M groups."""
    pattern, found = n_of_m(config.ranking), {}
    for site in sites:
        width = getattr(site.module, site.tensor).shape[-1]
        if pattern is not None and width % pattern[1]:
            raise InputError(f"mask_conf: ranking is {config.ranking}, but {site.name} has {width} inputs per output")
        bias = f"{site.name.rpartition('.')[0]}.bias"
        for name in (site.name, bias) if config.biases and bias in trained else (site.name,):
            if name not in trained:
                raise InputError(
                    f"mask_conf: targets hold {name}, which does not train. Set train_cnn: true or leave it out"
                )
            found[name] = trained[name]
    return found
