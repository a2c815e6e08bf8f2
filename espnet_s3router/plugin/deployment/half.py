"""Which parts of a route are stored in 16 bits: those whose rounding leaves the text of recordings the same."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.plugin.best_path import best_path
from espnet_s3router.plugin.deployment.bake import outputs


@torch.no_grad()
def round_where_text_stays(model: Any, tensors: Mapping[str, Tensor], waves: Sequence[Tensor]) -> list[str]:
    """Names of the ``tensors`` of a model that are now rounded to 16 bits, in place. The best-path text of all audio stays.

    All are tried first. If a text changes, the parts are tried one after the other, the largest first, each beside those
    that stay rounded. So the audio is run at most (parts + 2) times. Without a CTC head nothing is rounded: there is no best
    path.
    """
    if getattr(model, "ctc", None) is None:
        return []
    expected = [best_path(outputs(model, wave))[0] for wave in waves]

    def stays(names: Sequence[str]) -> bool:
        exact = {name: tensors[name].clone() for name in names}
        for name in names:
            tensors[name].copy_(in_16_bits(tensors[name]))
        if all(best_path(outputs(model, wave))[0] == text for wave, text in zip(waves, expected)):
            return True
        for name in names:
            tensors[name].copy_(exact[name])
        return False

    if stays(list(tensors)):
        return list(tensors)
    parts = [list(names) for _, names in groupby(sorted(tensors, key=part_name), part_name)]
    if len(parts) == 1:
        return []
    parts.sort(key=lambda names: -sum(tensors[name].numel() for name in names))
    return [name for names in parts if stays(names) for name in names]


def part_name(name: str) -> str:
    """The part of a tensor that is rounded as a whole: ``head/MODULE``, ``featurizer`` or ``upstream``."""
    part, _, rest = name.partition("/")
    return f"{part}/{rest.partition('.')[0]}" if part == "head" else part


def in_16_bits(tensor: Tensor) -> Tensor:
    """The tensor in float16, or unchanged if it holds other numbers than float32 or leaves the range of float16."""
    fits = tensor.dtype == torch.float32 and (tensor.abs() <= torch.finfo(torch.float16).max).all()
    return tensor.half() if fits else tensor
