"""Learned masks during a run: rankings of ``routing`` and ``routing_prune``, start weights and schedules."""

import pytest
import torch
from toy_runs import Run

from espnet_s3router.masks import topk_mask

LEARNED = [{"method": "routing", "targets": "all"}, {"method": "routing_prune", "start": "x"}]


def learn(conf):
    """(masks at the start, masks after an epoch), which differ."""
    run = Run(conf)
    before = run.attached.kept()
    run.epoch(1)
    after = run.attached.kept()
    assert any(not torch.equal(mask, before[name]) for name, mask in after.items())
    return before, after


@pytest.mark.parametrize("conf", LEARNED, ids=lambda conf: conf["method"])
@pytest.mark.parametrize("pattern", [(2, 4), (4, 8), (1, 4)])
def test_learned_patterns(conf, pattern):
    """Every row keeps N of every M neighbouring inputs, before the first update and after the last."""
    keep, group = pattern
    for masks in learn({**conf, "sparsity": 1 - keep / group, "ranking": f"{keep}:{group}"}):
        assert len(masks) == 18
        for mask in masks.values():
            assert (mask.view(-1, group).sum(1) == keep).all()


@pytest.mark.parametrize("conf", LEARNED, ids=lambda conf: conf["method"])
@pytest.mark.parametrize("ranking", ["output_units", "input_units"])
def test_learned_masks_of_whole_units(conf, ranking):
    """Exactly a quarter of the rows or of the columns is removed, and no other entry."""
    for masks in learn({**conf, "sparsity": 0.25, "ranking": ranking, "targets": "feed_forward"}):
        assert sorted(mask.shape for mask in masks.values()) == [(16, 32)] * 3 + [(32, 16)] * 3
        for mask in masks.values():
            units = mask if ranking == "output_units" else mask.t()
            removed = ~units.any(1)
            assert removed.sum() == len(units) / 4
            assert units[~removed].all()


def test_routed_pruning_begins_from_the_magnitudes_of_start():
    """The weights stay at ``start``, and the first scores are W / scale."""
    run = Run({"method": "routing_prune", "sparsity": 0.4, "scale": 2.0, "start": "x"})
    assert len(run.attached.masks) == 18
    for name, masked in run.attached.masks.items():
        assert torch.equal(masked.scores, run.start[name] / 2.0)
        assert torch.equal(masked.mask, topk_mask(run.start[name], 0.4))
        assert torch.equal(run.attached.startable[name], run.start[name])
    run.epoch(1)
    assert any(not torch.equal(m.mask, topk_mask(run.start[n], 0.4)) for n, m in run.attached.masks.items())
    assert all(torch.equal(p, run.start[name]) for name, p in run.attached.startable.items())


def test_routed_pruning_with_trained_weights_moves_both():
    """As movement pruning (arXiv 2005.07683), from a finetuned model."""
    run = Run({"method": "routing_prune", "sparsity": 0.4, "train_weights": True, "start": "x"})
    run.epoch(1)
    for name, masked in run.attached.masks.items():
        assert not torch.equal(masked.scores, run.start[name])
        assert not torch.equal(run.attached.startable[name], run.start[name])


def test_a_rising_sparsity_of_learned_masks_rises_when_it_is_due():
    """Here after every third update of the first half. An epoch starts at the sparsity of the last rise."""
    conf = {"method": "routing_prune", "sparsity": 0.4, "start": "x", "schedule": "linear", "interval": 3}
    run, seen = Run({**conf, "updates": 12}), []
    for number in range(1, 4):
        run.attached.begin_epoch(number)
        for _ in range(4):
            seen.append(run.zeros())
            run.update()
        run.attached.end_epoch()
    assert [a != b for a, b in zip(seen, seen[1:])] == [update in (3, 6) for update in range(1, 12)]
