"""The option ``initial_mask``: a first mask taken from another run's scores or weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.masks import Candidates
from espnet_s3router.masks.names import scores_key
from espnet_s3router.plugin.checkpoint import UPSTREAM_KEYS
from espnet_s3router.plugin.model_file import check_shape, config_beside, mask_conf_of


def saliency_of(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], base: Mapping[str, Tensor], path: str
) -> dict[str, Tensor]:
    """Saliency scores for the tensors ``own`` (this run's weights by path), from the model file ``state`` at ``path``.

    Learned scores are used where they exist, else the weights, of which the removed ones come last (``fill_zeros``).
    Weights that the other run could not remove come first. It chose its candidates by ``base``, the pretrained weights.
    Scores of different tensors have different scales, unless one global ranking learned them, and none has the scale of
    weights. Tensors that cannot be compared are replaced by their ranks, in (0, 1].
    """
    saliency: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}
    conf = mask_conf_of(config_beside(path))
    highest = max((float(t.abs().max()) for key, t in state.items() if key.endswith(".scores") and t.numel()), default=1.0)
    for name, tensor in own.items():
        key = next((key for key in (UPSTREAM_KEYS + scores_key(name), UPSTREAM_KEYS + name) if key in state), None)
        if key is None:
            raise InputError(
                f"mask_conf: initial_mask: {path} holds neither scores nor weights of {name}. "
                "Expected a run that masked, pruned or finetuned the same targets"
            )
        found = state[key]
        if (share := conf.get("candidates", 1.0)) < 1.0 and found.dim() == 1:
            source, seed = conf.get("candidates_from", "magnitude"), conf.get("seed", 0)
            rule = Candidates(share=share, source=source, seed=seed)
            found = with_others(found, rule.positions(base[name], name), base[name], highest)
        if conf.get("score_per") == "unit" and found.dim() == tensor.dim():  # one score for each row or column
            found = found.repeat(*(width if size == 1 else 1 for size, width in zip(found.shape, tensor.shape)))
        check_shape(f"initial_mask: {path}: {name}", found, tensor)
        saliency[name] = found
        if key == UPSTREAM_KEYS + name:
            weights[name] = saliency[name]
    fill_zeros(weights, own)
    learned_together = not weights and conf.get("ranking") == "global"
    if learned_together or len(weights) == len(saliency):
        return saliency
    signed = conf.get("estimator") == "signed"
    return {name: ranks(tensor if signed and name not in weights else tensor.abs()) for name, tensor in saliency.items()}


def with_others(scores: Tensor, positions: Tensor, weight: Tensor, highest: float) -> Tensor:
    """Scores (shape of ``weight``) of which those at the flat ``positions`` are given.

    All others are above ``highest``, in the order of their weights.
    """
    check_shape("initial_mask: scores of the candidates", scores, positions)
    filled = weight.abs().div(weight.abs().max()).add_(1.0).mul_(2.0 * highest).flatten()
    filled[positions] = scores
    return filled.view(weight.shape)


def fill_zeros(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Replace the zeros of another run's weights, in place, by the magnitudes of ``own``, scaled below all other weights.

    If that run removed more than this one, these magnitudes decide among its zeros. As ties they would go layer by layer.
    """
    removed = {name: tensor.abs() <= torch.finfo(tensor.dtype).tiny for name, tensor in weights.items()}
    smallest = [tensor[~removed[name]].abs().min().item() for name, tensor in weights.items() if not removed[name].all()]
    largest = max((own[name].abs().max().item() for name in weights), default=0.0)
    factor = min(smallest, default=1.0) / (2 * largest or 1.0)
    for name, tensor in weights.items():
        tensor[removed[name]] = own[name][removed[name]] * factor


def ranks(scores: Tensor) -> Tensor:
    """For each entry the share of the tensor that is not larger; same shape, in (0, 1]."""
    order = scores.flatten().argsort(stable=True)
    ranked = torch.empty(order.numel())
    ranked[order] = torch.arange(1, order.numel() + 1, dtype=torch.float32) / order.numel()
    return ranked.view(scores.shape)
