"""The language of a recording without a language id: the route whose outputs are surest.

The measure is the entropy of the output distribution, divided by the logarithm of the number of tokens. Frames count by
their probability of a token: a route is sure of its blanks in any language.
With many routes, one gradient first ranks them all (SupSup, arXiv 2006.14769 sec. 3.3): with the mean of all masks on the
base, it tells how much more weight for one mask would lower the entropy. Only the best are then run.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.serving.bank import Bank

NO_TOKEN = 1e-6
"""Weight of the answer 1 beside those of the frames, for recordings in which a route finds nothing."""
LogProbs = Callable[[str, Tensor], Tensor]
"""(route, samples) -> log probabilities (frames, tokens)."""


@dataclass(frozen=True)
class Identified:
    """The routes of a recording, the surest first."""

    ranking: list[tuple[str, float]]
    """(name, normalised entropy from 0 to 1)."""

    @property
    def name(self) -> str:
        """The surest route."""
        return self.ranking[0][0]

    @property
    def confidence(self) -> float:
        """1 - (entropy of the surest route / entropy of the next), from 0 to 1. 1 if there is no other, 0 for equal ones."""
        if len(self.ranking) < 2:
            return 1.0
        first, second = (value for _, value in self.ranking[:2])
        return 1.0 - first / second if first < second else 0.0


def entropy(log_probs: Tensor) -> Tensor:
    """Mean entropy of (frames, tokens), as a share of that of a uniform distribution: 0 to 1. Token 0 is the blank.

    The weight of a frame is its probability of another token than the blank. Blanks alone say nothing: 1.
    """
    probs = log_probs.exp()
    shares = -(probs * log_probs).sum(dim=-1) / math.log(log_probs.shape[-1])  # (frames,)
    weights = probs[:, 1:].sum(dim=-1)
    return ((weights * shares).sum() + NO_TOKEN) / (weights.sum() + NO_TOKEN)


@torch.no_grad()
def by_entropy(names: Sequence[str], wave: Tensor, log_probs: LogProbs) -> Identified:
    """Run every route of ``names`` on ``wave`` (samples,)."""
    scored = [(name, float(entropy(log_probs(name, wave)))) for name in names]
    return Identified(sorted(scored, key=lambda pair: (pair[1], pair[0])))


def rank_by_gradient(bank: Bank, names: Sequence[str], wave: Tensor) -> list[str]:
    """The routes from most to least promising for ``wave`` (samples,), after one forward and one backward pass."""
    slopes = slopes_of_entropy(bank, names, wave)
    return sorted(names, key=lambda name: (slopes[name], name))


def slopes_of_entropy(bank: Bank, names: Sequence[str], wave: Tensor) -> dict[str, float]:
    """dH/da_j of each route j: H is the mean entropy of all heads on a base with the weights W * sum_j a_j M_j.

    All a_j are 1 / routes. The slope is the sum of dH/dW_eff * W over what the mask of the route keeps. Routes that are not
    ready are decoded one after the other, before and after the gradient. The heads of all are in memory meanwhile.
    """
    with bank.lock:
        parameters = dict(bank.frontend.expert.named_parameters())
        models: list[Any] = []
        counts: dict[str, Tensor] = {}  # how many routes remove each entry of a flattened tensor
        for name in names:  # on the unchanged base, so this ends before the weights change
            models.append(bank.model(name))
            for site, part in bank.changes(name).removed.items():
                if site not in counts:
                    counts[site] = torch.zeros_like(parameters[site], dtype=torch.int16).flatten()
                counts[site][part.index] += 1  # the positions of one route differ
        bank.restore()
        base = {site: parameters[site].detach().clone() for site in counts}
        if not base:
            return dict.fromkeys(names, 0.0)
        try:
            for site, count in counts.items():
                share_kept = 1.0 - count / len(names)
                parameters[site].detach().mul_(share_kept.view_as(base[site]))
                parameters[site].requires_grad_(True)
            with torch.enable_grad():
                loss = _mean_entropy(bank, models, wave)
                gradients = torch.autograd.grad(loss, [parameters[site] for site in base], allow_unused=True)
        finally:
            for site in base:
                parameters[site].requires_grad_(False).copy_(base[site])
        products = {site: (g * base[site]).flatten() for site, g in zip(base, gradients) if g is not None}
        total = sum(float(product.sum()) for product in products.values())
        slopes = {}
        for name in reversed(names):  # those that were decoded last may still be ready
            removed = bank.changes(name).removed.items()
            slopes[name] = total - sum(float(products[site][part.index].sum()) for site, part in removed if site in products)
        return slopes


def _mean_entropy(bank: Bank, models: Sequence[Any], wave: Tensor) -> Tensor:
    """Mean entropy of the heads of ``models``, with the weights that lie on the base now. The base runs once."""
    upstream = bank.frontend.upstream
    device = next(upstream.parameters()).device
    batch = wave[None].to(device), torch.tensor([len(wave)], device=device)
    states = upstream(*batch)
    upstream.forward = lambda *unused: states
    try:
        return torch.stack([entropy(model.ctc.log_softmax(model.encode(*batch)[0])[0]) for model in models]).mean()
    finally:
        del upstream.forward
