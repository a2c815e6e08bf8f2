"""omp, imp, mpi and rp: what they rank, and what rewinding restores."""

import pytest
import torch
from toy_runs import GRADUAL, Run

from espnet_s3router.masks import topk_mask, zero_count


def test_magnitudes_of_the_weights_that_training_starts_from():
    """mpi prunes the pretrained weights or ``start``. omp prunes ``start`` and returns to the pretrained values."""
    conf = {"sparsity": 0.4, "ranking": "matrix"}
    plain, started = Run({**conf, "method": "mpi"}), Run({**conf, "method": "mpi", "start": "x"})
    rewound, tuned = (Run({**conf, "method": "omp", "start": "x", "rewind": rewind}) for rewind in (True, False))
    for name in plain.attached.kept():
        before, start = plain.pretrained[name], plain.start[name]
        for run, ranked, values in ((plain, before, before), (started, start, start), (rewound, start, before)):
            assert torch.equal(run.attached.trained[name], values * topk_mask(ranked, 0.4)), name
        assert torch.equal(tuned.attached.trained[name], started.attached.trained[name])
    bias = "model.encoder.layers.0.fc1.bias"  # is no target, but rewound all the same
    assert torch.equal(rewound.attached.trained[bias], plain.pretrained[bias])
    assert torch.equal(tuned.attached.trained[bias], plain.start[bias])


def test_rounds_rewind_weights_and_optimiser():
    """A round starts from the pretrained values of the kept weights, with an optimiser in its initial state."""
    run = Run(GRADUAL["imp"])
    run.attached.begin_epoch(1)
    for update in range(1, 15):
        trained = {name: p.detach().clone() for name, p in run.attached.trained.items()}
        run.update()
        begins = update in (4, 9)  # 14 updates in three rounds
        for name, parameter in run.attached.trained.items():
            mask = run.attached.kept().get(name, torch.ones_like(parameter, dtype=torch.bool))
            assert torch.equal(parameter, run.pretrained[name] * mask) == begins
            state = run.optimizer.state[parameter]
            assert (state["step"] == 0 and not state["exp_avg"].any() and not state["exp_avg_sq"].any()) == begins
        assert not begins or any((trained[name] != run.pretrained[name]).any() for name in trained)


def test_a_rewound_round_is_a_fresh_finetuning():
    """The second round follows the trajectory of a new run with the same mask."""
    run = Run({**GRADUAL["imp"], "rounds": 2, "updates": 4})
    run.attached.begin_epoch(1)
    for _ in range(4):
        run.update()
    fresh = Run({"method": "mpi", "sparsity": 0.6})
    for name, mask in run.attached.kept().items():
        fresh.attached.trained[name].data.copy_(fresh.pretrained[name] * mask)
    fresh.attached.begin_epoch(1)
    fresh.attached.update = 2  # the same losses
    fresh.update()
    fresh.update()
    for name, parameter in run.attached.trained.items():
        assert torch.equal(parameter, fresh.attached.trained[name]), name


def test_rounds_of_equal_steps_rewind_to_start():
    """PARP's code: a dense round, then the weights of the finetuned checkpoint under a sparser mask, again and again."""
    run = Run({**GRADUAL["imp"], "rounds": None, "step": 0.2, "updates": 12, "rewind": "start"})
    attached = run.attached
    assert run.zeros() == 0 and attached.config["rounds"] == 4
    attached.begin_epoch(1)
    for update in range(1, 13):
        ranked = {name: p.detach().clone() for name, p in attached.sites.items()}
        run.update()
        begins = update in (3, 6, 9)
        for name, parameter in attached.trained.items():
            mask = attached.kept().get(name, torch.ones_like(parameter, dtype=torch.bool))
            assert torch.equal(parameter, run.start[name] * mask) == begins
        assert run.zeros() == zero_count(run.numel(), 0.2 * min(update // 3, 3))
        if begins:  # what is kept was larger before this update than about anything removed
            kept = torch.cat([ranked[name][mask].abs() for name, mask in attached.kept().items()])
            removed = torch.cat([ranked[name][~mask].abs() for name, mask in attached.kept().items()])
            assert kept.min() > removed.max() - 2 * 0.02


def test_random_masks_come_from_the_seed_and_nest():
    """A sparser random mask removes every weight that a less sparse one removes, as a schedule needs."""
    masks = {
        (seed, sparsity): Run({"method": "rp", "sparsity": sparsity, "seed": seed}).attached.kept()
        for seed in (0, 1)
        for sparsity in (0.3, 0.6)
    }
    bits = {key: torch.cat([mask.flatten() for mask in kept.values()]) for key, kept in masks.items()}
    assert not (bits[0, 0.6] & ~bits[0, 0.3]).any()
    assert (bits[0, 0.3] == bits[1, 0.3]).float().mean() == pytest.approx(0.3**2 + 0.7**2, abs=0.05)
