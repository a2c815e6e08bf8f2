"""A penalty on flips: a mask stays near its first one, which a prior describes in few bytes.

The loss gets the term ``penalty`` * sum_i |m_i - m_i(0)|: the number of bits that differ from the first mask m(0). Its
straight-through gradient by |s_i| is -penalty where the first mask keeps entry i, and +penalty where it removes it. The term
acts after the optimiser's step, with the learning rate as step size. This decoupling is that of weight decay in AdamW
(arXiv 1711.05101): inside Adam's normalisation, the term would not have its strength.

An Adam update moves a score by at most about the learning rate. So the penalty is a threshold for gradients: a bit flips if
its score moves in one direction for more than this share of the updates. At 0 the term is absent. At 1 or more the first
mask stays.
"""

import torch
from torch import Tensor


def favour_first_mask(scores: Tensor, first: Tensor, amount: float, *, signed: bool = False) -> None:
    """One step of size ``amount`` (learning rate * penalty) down the gradient of the penalty, in place.

    ``first`` is the first mask (boolean, shape of ``scores``). Magnitudes grow where it is True and shrink where it is
    False, but never to zero, where a score has no gradient. With ``signed`` the scores themselves are ranked and move.
    """
    shift = torch.where(first, amount, -amount)
    if signed:
        scores.add_(shift)
        return
    magnitude = shift.add_(scores.abs()).clamp_(min=torch.finfo(scores.dtype).tiny)
    scores.copy_(magnitude.copysign_(scores))
