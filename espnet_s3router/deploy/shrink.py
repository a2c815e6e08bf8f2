"""Extraction: an upstream with gates or masks becomes a smaller one with the same outputs."""

from torch import Tensor, nn

from espnet_s3router.deploy.resize import keep_units
from espnet_s3router.deploy.zero_units import fold_zero_units
from espnet_s3router.masks import MaskedTensor, bake
from espnet_s3router.methods import Attached
from espnet_s3router.methods.structured.channel_norm import ChannelNorm
from espnet_s3router.methods.structured.place import Place, ScaledInputs, ScaledOutputs
from espnet_s3router.methods.structured.removal import Structured
from espnet_s3router.upstreams import family_of


def shrink(attached: Attached) -> nn.Module:
    """Remove the units that are closed in evaluation from the upstream of ``attached``, in place, and return it.

    Removed channels still count as zeros in layer norms over channels. Blocks that lose all units keep the bias of their
    output; blocks that are removed as a whole add nothing.
    """
    expert = attached.upstream
    keep_units(expert, family_of(expert), *fold(attached))
    return expert


def fold(attached: Attached) -> tuple[list[Place], dict[str, Tensor]]:
    """Write gates or masks into plain weights, in place: they are gone. Returns the groups of units, and the indices of
    those that must stay, by group."""
    attached.end_epoch()
    if isinstance(attached, Structured):
        return attached.places, _fold_gates(attached)
    bake(attached.upstream, MaskedTensor)
    return fold_zero_units(attached.upstream, family_of(attached.upstream))


def _fold_gates(attached: Structured) -> dict[str, Tensor]:
    """Multiply the values of evaluation into the weights that read the units, in place; indices of open units by group."""
    kept = {name: mask.nonzero().flatten() for name, mask in attached.open_units().items()}
    bake(attached.upstream, (ScaledInputs, ScaledOutputs))
    for module in attached.upstream.modules():
        if isinstance(module, ChannelNorm):
            module.close(None)
    return kept
