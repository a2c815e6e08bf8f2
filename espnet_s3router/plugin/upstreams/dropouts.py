"""The dropouts of an upstream: pretraining left its values in the model, and papers finetune with their own."""

from dataclasses import dataclass

from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.upstreams import Family


@dataclass(frozen=True, kw_only=True)
class Dropouts:
    """Probabilities of ``frontend_conf: upstream_dropouts``. None leaves the value of the pretrained model."""

    input: float | None = None
    """On the input of the Transformer, after the projection (fairseq: dropout_input)."""
    transformer: float | None = None
    """After the attention block, after the feed-forward block, and before the first layer (fairseq: dropout)."""
    attention: float | None = None
    """On the attention weights (fairseq: attention_dropout)."""
    activation: float | None = None
    """Between the feed-forward matrices (fairseq: activation_dropout)."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0.0 <= value < 1.0:
                raise InputError(f"upstream_dropouts: {name} is {value}, expected a probability in [0, 1)")


def set_dropouts(expert: nn.Module, family: Family, dropouts: Dropouts) -> None:
    """Set the given probabilities in place. Raises InputError for a dropout that the family does not have."""
    layers = len(list(expert.get_submodule(family.layers).children()))
    for name, value in vars(dropouts).items():
        if value is None:
            continue
        if name not in family.dropouts:
            raise InputError(
                f"upstream_dropouts: {name} is {value}, but {family.name} upstreams have no such dropout, only "
                f"{', '.join(family.dropouts)}. Remove it, or set it to null"
            )
        for path in family.dropouts[name]:
            for layer in range(layers) if "*" in path else (0,):
                owner, _, attribute = path.replace("*", str(layer)).rpartition(".")
                _set(expert.get_submodule(owner), attribute, float(value))


def _set(owner: nn.Module, attribute: str, value: float) -> None:
    """Set a dropout, which is a module or the probability itself."""
    part = getattr(owner, attribute)
    if isinstance(part, nn.Module):
        part.p = value  # type: ignore[assignment]
    else:
        setattr(owner, attribute, value)
