"""Extraction: a gated upstream becomes a smaller one with the same outputs."""

from torch import Tensor, nn

from espnet_s3router.deploy.resize import keep_units
from espnet_s3router.masks import bake
from espnet_s3router.methods.structured.channel_norm import ChannelNorm
from espnet_s3router.methods.structured.place import ScaledInputs, ScaledOutputs
from espnet_s3router.methods.structured.removal import Structured
from espnet_s3router.upstreams import family_of


def shrink(attached: Structured) -> nn.Module:
    """Remove the units that are closed in evaluation from the upstream of ``attached``, in place, and return it.

    Removed channels still count as zeros in layer norms over channels. Blocks that lose all units keep the bias of their
    output; blocks that are removed as a whole add nothing.
    """
    expert = attached.upstream
    keep_units(expert, family_of(expert), attached.places, fold_gates(attached))
    return expert


def fold_gates(attached: Structured) -> dict[str, Tensor]:
    """Multiply the values of evaluation into the weights that read the units, in place: the gates are gone. Returns the
    indices of open units by group."""
    attached.end_epoch()
    kept = {name: mask.nonzero().flatten() for name, mask in attached.open_units().items()}
    bake(attached.upstream, (ScaledInputs, ScaledOutputs))
    for module in attached.upstream.modules():
        if isinstance(module, ChannelNorm):
            module.close(None)
    return kept
