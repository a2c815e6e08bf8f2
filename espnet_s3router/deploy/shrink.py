"""Extraction: a gated upstream becomes a smaller one with the same outputs."""

from torch import nn

from espnet_s3router.deploy.resize import keep_units
from espnet_s3router.masks import bake
from espnet_s3router.methods.structured.channel_norm import ChannelNorm
from espnet_s3router.methods.structured.hj import Structured
from espnet_s3router.methods.structured.place import ScaledInputs
from espnet_s3router.upstreams import family_of


def shrink(attached: Structured) -> nn.Module:
    """Remove the units that are closed in evaluation from the upstream of ``attached``, in place, and return it.

    Open gates may have values below 1: they are multiplied into the weights that read the units. Removed channels still
    count as zeros in layer norms over channels, and blocks that lose all units keep the bias of their output.
    """
    expert, family = attached.upstream, family_of(attached.upstream)
    attached.end_epoch()
    kept = {name: mask.nonzero().flatten() for name, mask in attached.gates.masks().items()}
    bake(expert, ScaledInputs)
    for module in expert.modules():
        if isinstance(module, ChannelNorm):
            module.close(None)
    keep_units(expert, family, attached.places, kept)
    return expert
