"""Units that several matrices share: ranked together, removed from each matrix."""

import pytest
import torch
from torch import nn

from espnet_s3router.masks import MaskedTensor, SharedUnits, Site, UnitGroup, inject

INNER, DIM = 6, 4


def block(seed=0, width=1):
    """Two linear maps with scores of their own and one group: INNER rows of the first, columns of the second."""
    generator = torch.Generator().manual_seed(seed)
    first, second = nn.Linear(DIM, INNER), nn.Linear(INNER, DIM)
    group = UnitGroup(0.5)
    masks = []
    for dim, module in enumerate((first, second)):
        masked = MaskedTensor(torch.randn(module.weight.shape, generator=generator), SharedUnits(group, dim, width))
        inject(Site(name="weight", module=module, tensor="weight"), masked)
        masks.append(masked)
    return group, masks, first, second


@pytest.mark.parametrize("width", [1, 3])
def test_units_of_the_largest_mean_score_stay(width):
    group, (rows, columns), _, _ = block(width=width)
    all_scores = torch.cat([rows.scores.abs(), columns.scores.abs().t()], 1).unflatten(0, (-1, width))  # units first
    saliency = all_scores.flatten(1).mean(1)
    expected = torch.zeros(INNER // width, dtype=torch.bool)
    expected[saliency.argsort(descending=True)[: INNER // width // 2]] = True
    assert torch.equal(group.kept(), expected)
    assert torch.equal(rows.mask, expected.repeat_interleave(width)[:, None].expand(INNER, DIM))
    assert torch.equal(columns.mask, expected.repeat_interleave(width)[None].expand(DIM, INNER))


def test_one_score_moves_the_masks_of_both():
    group, (rows, columns), _, _ = block()
    removed = int((~group.kept()).nonzero()[0])
    with torch.no_grad():
        rows.scores[removed] = 100.0
    assert columns.mask[:, removed].all() and rows.mask[removed].all()
    assert int(columns.mask[0].sum()) == int(rows.mask[:, 0].sum()) == INNER // 2


def test_a_removed_unit_has_no_effect():
    """Whatever its weights and bias are: nothing reads it."""
    group, _, first, second = block()
    x = torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))
    before = second(torch.relu(first(x)))
    with torch.no_grad():
        first.bias[~group.kept()] += 7.0
    assert torch.equal(second(torch.relu(first(x))), before)


def test_gradients_are_those_of_one_score_for_each_unit():
    """With a score for each row and column, the ranking moves as a single score for each unit would."""
    group, masks, first, second = block()
    for masked, shape in zip(masks, ((INNER, 1), (1, INNER))):
        masked.scores = nn.Parameter(torch.linspace(0.1, 0.9, INNER).view(shape))
    for masked in masks:
        masked.selector.scores = masked.scores
    x = torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))
    second(torch.relu(first(x))).square().sum().backward()
    gate = torch.nn.Parameter(group.kept().float())  # W1 * gate rows, W2 * gate columns
    w1, w2 = (m.parametrizations.weight.original.detach() for m in (first, second))
    hidden = torch.relu(x @ (w1 * gate[:, None]).t() + first.bias.detach())
    (hidden @ (w2 * gate).t() + second.bias.detach()).square().sum().backward()
    total = masks[0].scores.grad.flatten() + masks[1].scores.grad.flatten()
    assert torch.allclose(total, gate.grad, rtol=1e-4, atol=1e-6)


def test_the_sparsity_of_one_is_that_of_all():
    group, (rows, columns), _, _ = block()
    rows.selector.sparsity = 1 / 3
    assert columns.selector.sparsity == group.sparsity == 1 / 3
    assert int(columns.mask[0].sum()) == int(rows.mask[:, 0].sum()) == 4


def test_scores_that_are_not_finite():
    group, (rows, _), _, _ = block()
    with torch.no_grad():
        rows.scores[0, 0] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        group.kept()


def test_a_bad_sparsity():
    with pytest.raises(ValueError, match="sparsity"):
        UnitGroup(1.0)
