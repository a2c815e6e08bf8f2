"""Pruning in place: exact zeros that stay zero, growth where it is meant, and runs that go on after a kill."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import toy_expert

from espnet_s3router.masks import topk_mask, zero_count
from espnet_s3router.methods import attach
from espnet_s3router.methods.in_place_pruning import hold

WAVE = torch.randn(2, 320 * 7, generator=torch.Generator().manual_seed(9))
ADAM = (torch.optim.Adam, {"lr": 0.02})
ONCE = {
    "mpi": {"method": "mpi", "sparsity": 0.4},
    "rp": {"method": "rp", "sparsity": 0.4},
    "omp": {"method": "omp", "sparsity": 0.4, "start": "x"},
    "omp, no rewinding": {"method": "omp", "sparsity": 0.4, "start": "x", "rewind": False},
}
GRADUAL = {
    "mpi, linear": {"method": "mpi", "sparsity": 0.6, "schedule": "linear", "updates": 14, "interval": 2},
    "rp, cubic": {"method": "rp", "sparsity": 0.6, "schedule": "cubic", "updates": 14, "ramp_until": 11, "interval": 3},
    "imp": {"method": "imp", "sparsity": 0.6, "rounds": 3, "updates": 14, "start": "x"},
    "imp, no rewinding": {"method": "imp", "sparsity": 0.6, "rounds": 3, "updates": 14, "start": "x", "rewind": False},
}
PARP = {
    "parp": {"method": "parp", "sparsity": 0.4, "interval": 3},
    "parp, remask": {"method": "parp", "sparsity": 0.4, "interval": 3, "form": "remask"},
    "parp, epochs": {"method": "parp", "sparsity": 0.4, "interval_epochs": 2},
    "parp, remask, epochs": {"method": "parp", "sparsity": 0.4, "interval_epochs": 2, "form": "remask"},
    "parp_p": {"method": "parp_p", "sparsity": 0.6, "updates": 14, "interval": 3, "initial_sparsity": 0.2},
    "parp_p, remask": {"method": "parp_p", "sparsity": 0.6, "updates": 14, "ramp_until": 11, "form": "remask"},
    "parp_p, start": {"method": "parp_p", "sparsity": 0.6, "updates": 14, "interval_epochs": 2, "start": "x"},
}
ROUTED = {
    "routing_prune, cubic": {
        "method": "routing_prune",
        "sparsity": 0.6,
        "schedule": "cubic",
        "updates": 14,
        "interval": 2,
        "start": "x",
    }
}
ALL = ONCE | GRADUAL | PARP | ROUTED


class Run:
    """A toy run: epochs of four updates, losses that change with the update."""

    def __init__(self, conf, optimizer=ADAM, ranked=None):
        self.expert = toy_expert()
        self.attached = attach(self.expert, conf)
        self.pretrained = {name: p.detach().clone() for name, p in self.attached.startable.items()}
        generator = torch.Generator().manual_seed(3)
        self.start = {
            name: p.detach() + 0.05 * torch.randn(p.shape, generator=generator)
            for name, p in self.attached.startable.items()
        }
        self.attached.begin(self.start if conf.get("start") else None, ranked)
        kind, options = optimizer
        self.optimizer = kind(self.attached.trained.values(), **options)

    def update(self):
        attached = self.attached
        self.optimizer.zero_grad()
        out = self.expert(WAVE)
        direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(attached.update))
        (out * direction).sum().backward()
        self.optimizer.step()
        attached.update += 1
        attached.step(attached.update, self.optimizer)

    def epoch(self, number, updates=4):
        self.attached.begin_epoch(number)
        for _ in range(updates):
            self.update()
        self.attached.end_epoch()

    def weights(self):
        return {name: p.detach().clone() for name, p in self.expert.named_parameters()}

    def zeros(self):
        return sum(int((~mask).sum()) for mask in self.attached.kept().values())

    def numel(self):
        return sum(mask.numel() for mask in self.attached.kept().values())


@pytest.mark.parametrize("case", ALL)
def test_every_epoch_is_saved_at_the_final_sparsity(case):
    """Also while the sparsity still rises, so that any epoch may be chosen on dev; and training goes on as if nothing
    had been taken out."""
    run = Run(ALL[case])
    for number in range(1, 5):
        run.epoch(number)
        if case in ROUTED:
            expected = sum(zero_count(m.numel(), 0.6) for m in run.attached.kept().values())
        else:
            expected = zero_count(run.numel(), ALL[case]["sparsity"])
        assert run.zeros() == expected


@pytest.mark.parametrize("case", GRADUAL)
@pytest.mark.parametrize("ranking", ["global", "matrix"])
def test_exact_counts_while_the_sparsity_rises(case, ranking):
    run = Run({**GRADUAL[case], "ranking": ranking})
    schedule = run.attached.schedule
    reached = schedule.at(0)
    run.attached.begin_epoch(1)
    for update in range(1, 15):
        run.update()
        reached = schedule.at(update) if schedule.due(update) else reached
        sizes = [mask.numel() for mask in run.attached.kept().values()]
        expected = [sum(sizes)] if ranking == "global" else sizes
        assert run.zeros() == sum(zero_count(size, reached) for size in expected), update
    assert reached == 0.6


@settings(max_examples=15)
@given(
    sparsity=st.floats(0, 0.99),
    method=st.sampled_from(["mpi", "rp", "omp", "parp", "imp"]),
    ranking=st.sampled_from(["global", "matrix"]),
    biases=st.booleans(),
    rounding=st.sampled_from(["nearest", "reference"]),
)
def test_any_sparsity_is_exact(sparsity, method, ranking, biases, rounding):
    more = {"omp": {"start": "x"}, "imp": {"start": "x", "rounds": 2, "updates": 4}}.get(method, {})
    conf = {"method": method, "sparsity": sparsity, "ranking": ranking, "biases": biases, "rounding": rounding, **more}
    run = Run(conf)
    run.epoch(1)
    kept = run.attached.kept()
    assert sum(name.endswith(".bias") for name in kept) == (18 if biases else 0)
    sizes = [mask.numel() for mask in kept.values()]
    counted = [sum(sizes)] if ranking == "global" else sizes
    assert run.zeros() == sum(zero_count(size, sparsity, rounding) for size in counted)


@pytest.mark.parametrize("case", ONCE | GRADUAL)
@pytest.mark.parametrize(
    "optimizer",
    [
        (torch.optim.SGD, {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1}),
        (torch.optim.AdamW, {"lr": 0.1, "betas": (0.9, 0.98), "weight_decay": 0.1}),
        (torch.optim.Adam, {"lr": 0.1, "fused": True}),
    ],
    ids=["sgd", "adamw", "fused"],
)
def test_removed_weights_stay_zero(case, optimizer):
    """Whatever momentum, weight decay or a later gradient would make of them; the others move."""
    run = Run((ONCE | GRADUAL)[case], optimizer)
    run.attached.begin_epoch(1)
    before = run.attached.kept()
    for _ in range(15):
        weights = run.weights()
        run.update()
        after = run.attached.kept()
        assert not any((after[name] & ~before[name]).any() for name in before)
        assert any(not torch.equal(run.weights()[name], weights[name]) for name in before)
        before = after


def test_magnitudes_of_the_weights_that_training_starts_from():
    """mpi prunes what the upstream came with, or ``start``; omp ``start``, and returns to the pretrained values."""
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
    """A round begins from the pretrained values of what is left, with an optimiser that has forgotten the last round."""
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
    """From the second round on the trajectory is that of omp with the mask of that round: nothing else lingers."""
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


def test_random_masks_come_from_the_seed_and_nest():
    """A sparser random mask removes what a less sparse one removes, and more: else a schedule could not be followed."""
    masks = {
        (seed, sparsity): Run({"method": "rp", "sparsity": sparsity, "seed": seed}).attached.kept()
        for seed in (0, 1)
        for sparsity in (0.3, 0.6)
    }
    bits = {key: torch.cat([mask.flatten() for mask in kept.values()]) for key, kept in masks.items()}
    assert not (bits[0, 0.6] & ~bits[0, 0.3]).any()
    assert (bits[0, 0.3] == bits[1, 0.3]).float().mean() == pytest.approx(0.3**2 + 0.7**2, abs=0.05)


@pytest.mark.parametrize("case", PARP)
def test_removed_weights_may_grow_back(case):
    """In PARP, and in no other method (see above)."""
    run, seen = Run(PARP[case]), []
    for number in range(1, 5):
        run.epoch(number)
        seen.append(run.attached.kept())
    first, last = seen[0], seen[-1]
    assert any((last[name] & ~first[name]).any() for name in first)


def test_hard_thresholding_has_no_mask_between_two_prunings():
    """Removed weights take part at once; the next pruning keeps the largest."""
    run = Run(PARP["parp"])
    zeros = zero_count(run.numel(), 0.4)
    run.attached.begin_epoch(1)
    assert run.zeros() == zeros
    for update in range(1, 10):
        before = torch.cat([p.detach().flatten() for p in run.attached.sites.values()])
        run.update()
        after = torch.cat([p.detach().flatten() for p in run.attached.sites.values()])
        assert (run.zeros() == zeros) == (update % 3 == 0)
        if update % 3:  # every weight has moved that has a gradient: about as many removed ones as others
            moved = (after != before)[before == 0].float().mean()
            assert update % 3 == 2 or moved > 0.8


def test_remasking_computes_with_the_mask_and_lets_hidden_weights_move():
    """The forward pass is sparse after every update; out of sight a removed weight moves as Adam moves it from zero, and
    the pruning ranks what it has become."""
    run = Run(PARP["parp, remask"])
    attached = run.attached
    attached.begin_epoch(1)
    mask = attached.kept()
    for _ in range(2):
        run.update()
        assert all(torch.equal(now, mask[name]) for name, now in attached.kept().items())
    full = {name: p.detach() + attached._hidden[name] for name, p in attached.sites.items()}
    for name, parameter in attached.sites.items():
        assert not (attached._hidden[name][mask[name]]).any() and not parameter[~mask[name]].any()
    moved = torch.cat([full[name][~mask[name]].abs() for name in full])
    assert 0.02 < moved.max() <= 2 * 0.02 * 1.01 and (moved > 0).float().mean() > 0.8  # two steps of Adam at 0.02
    run.update()  # prunes
    grown = {name: now & ~mask[name] for name, now in attached.kept().items()}
    assert any(bits.any() for bits in grown.values())
    assert not any(hidden.any() for hidden in attached._hidden.values())


def test_interval_in_epochs():
    """Prunes between the second epoch and the third, and not between the others."""
    run = Run(PARP["parp, epochs"])
    zeros = zero_count(run.numel(), 0.4)
    at_start = []
    for number in range(1, 6):
        run.attached.begin_epoch(number)
        at_start.append(run.zeros() == zeros)
        run.update()
        run.update()
        assert run.zeros() < zeros
        run.attached.end_epoch()
    assert at_start == [True, False, True, False, True]


def test_first_mask_from_another_run():
    """Ranked by that run's scores or weights, while the values are this run's."""
    generator = torch.Generator().manual_seed(5)
    names = list(Run(PARP["parp"]).attached.sites)
    weights = toy_expert().state_dict()
    ranked = {name: torch.randn(weights[name].shape, generator=generator) for name in names}
    run = Run({**PARP["parp"], "ranking": "matrix"}, ranked=ranked)
    for name in names:
        assert torch.equal(run.attached.sites[name], weights[name] * topk_mask(ranked[name], 0.4))


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("done", [1, 2, 3])
def test_resumed_run_equals_an_uninterrupted_one(case, done):
    """From the model file, the optimiser and the method's own state, in a process that knows nothing else."""
    whole = Run(ALL[case])
    for number in range(1, done + 1):
        whole.epoch(number)
    model = {name: p.detach().clone() for name, p in (whole.attached.trained | whole.attached.saved).items()}
    optimizer, state = copy.deepcopy((whole.optimizer.state_dict(), whole.attached.training_state()))
    resumed = Run(ALL[case])
    with torch.no_grad():
        for name, parameter in (resumed.attached.trained | resumed.attached.saved).items():
            parameter.copy_(model[name])
    resumed.optimizer.load_state_dict(optimizer)
    resumed.attached.update = whole.attached.update
    resumed.attached.load_training_state(state)
    for number in range(done + 1, 5):
        whole.epoch(number)
        resumed.epoch(number)
    assert all(torch.equal(p, resumed.weights()[name]) for name, p in whole.weights().items())
    assert whole.attached.training_state().keys() == resumed.attached.training_state().keys()


@pytest.mark.parametrize("case", ALL)
def test_method_state_is_floats(case):
    """Loads with weights_only=True, and moves with the checkpoint."""
    run = Run(ALL[case])
    run.epoch(1)
    assert all(t.dtype == torch.float32 for t in run.attached.training_state().values())


@pytest.mark.parametrize("case", ONCE | GRADUAL | PARP)
def test_average_is_exactly_sparse(case):
    """Models of different masks (PARP, or a sparsity that rose in between) have fewer zeros in common than each has."""
    run, models = Run(ALL[case]), []
    for number in (1, 2, 3, 4):
        run.epoch(number)
        models.append({name: p.detach().clone() for name, p in run.attached.trained.items()})
    average = {name: sum(model[name] for model in models) / 4 for name in models[0]}
    zeros = sum(int((average[name] == 0).sum()) for name in run.attached.sites)
    expected = zero_count(run.numel(), ALL[case]["sparsity"])
    assert (zeros < expected) == (case not in ONCE and not case.startswith("rp"))
    plain = dict(average)
    run.attached.finish_average(average)
    assert sum(int((average[name] == 0).sum()) for name in run.attached.sites) == expected
    others = [name for name in average if name not in run.attached.sites]
    assert others and all(torch.equal(average[name], plain[name]) for name in others)


def test_a_kept_weight_is_never_zero():
    """It would count as removed; it becomes the smallest normal number instead."""
    weight = torch.tensor([0.0, -0.0, 1.0, 2.0, 3.0])
    hold(weight, torch.tensor([True, True, True, False, True]))
    tiny = torch.finfo(torch.float32).tiny
    assert weight.tolist() == [tiny, tiny, 1.0, 0.0, 3.0]
    run = Run(ONCE["mpi"])
    run.attached.begin_epoch(1)
    site = next(iter(run.attached.sites.values()))
    kept = int((site != 0).nonzero()[0][0])
    with torch.no_grad():
        site[kept].mul_(0.0)
    before = run.zeros()
    run.attached.end_epoch()
    assert before > run.zeros() == zero_count(run.numel(), 0.4)


def test_weights_that_are_not_finite_are_refused():
    run = Run(PARP["parp"])
    with torch.no_grad():
        next(iter(run.attached.sites.values()))[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite.*Lower the learning rate"):
        run.attached.end_epoch()


@pytest.mark.parametrize("method", ["mpi", "rp", "parp"])
@pytest.mark.parametrize("pattern", [(2, 4), (4, 8), (1, 4)])
def test_patterns(method, pattern):
    """N of every M neighbours along the inputs, in every row."""
    keep, group = pattern
    run = Run({"method": method, "sparsity": 1 - keep / group, "ranking": f"{keep}:{group}"})
    run.epoch(1)
    for mask in run.attached.kept().values():
        assert (mask.view(-1, group).sum(1) == keep).all()


LEARNED = [{"method": "routing", "targets": "all"}, {"method": "routing_prune", "start": "x"}]


def learn(conf):
    """(masks at the start, masks after an epoch) of learned masks, which have moved in between."""
    run = Run(conf)
    before = run.attached.kept()
    run.epoch(1)
    after = run.attached.kept()
    assert any(not torch.equal(mask, before[name]) for name, mask in after.items())
    return before, after


@pytest.mark.parametrize("conf", LEARNED, ids=lambda conf: conf["method"])
@pytest.mark.parametrize("pattern", [(2, 4), (4, 8), (1, 4)])
def test_learned_patterns(conf, pattern):
    """As those of magnitudes, before the first update and after the last."""
    keep, group = pattern
    for masks in learn({**conf, "sparsity": 1 - keep / group, "ranking": f"{keep}:{group}"}):
        assert len(masks) == 18
        for mask in masks.values():
            assert (mask.view(-1, group).sum(1) == keep).all()


@pytest.mark.parametrize("conf", LEARNED, ids=lambda conf: conf["method"])
@pytest.mark.parametrize("ranking", ["output_units", "input_units"])
def test_learned_masks_of_whole_units(conf, ranking):
    """A quarter of the rows or of the columns, which feed-forward matrices do not have equally many of; no other entry."""
    for masks in learn({**conf, "sparsity": 0.25, "ranking": ranking, "targets": "feed_forward"}):
        assert sorted(mask.shape for mask in masks.values()) == [(16, 32)] * 3 + [(32, 16)] * 3
        for mask in masks.values():
            units = mask if ranking == "output_units" else mask.t()
            removed = ~units.any(1)
            assert removed.sum() == len(units) / 4
            assert units[~removed].all()


def test_routed_pruning_begins_from_the_magnitudes_of_start():
    """Frozen there, and its scores are W / scale."""
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
    """Movement pruning (arXiv 2005.07683) on top of a finetuned model."""
    run = Run({"method": "routing_prune", "sparsity": 0.4, "train_weights": True, "start": "x"})
    run.epoch(1)
    for name, masked in run.attached.masks.items():
        assert not torch.equal(masked.scores, run.start[name])
        assert not torch.equal(run.attached.startable[name], run.start[name])


def test_a_rising_sparsity_of_learned_masks_rises_when_it_is_due():
    """Every third update of the first half here; an epoch begins at what the last rise left."""
    conf = {"method": "routing_prune", "sparsity": 0.4, "start": "x", "schedule": "linear", "interval": 3}
    run, seen = Run({**conf, "updates": 12}), []
    for number in range(1, 4):
        run.attached.begin_epoch(number)
        for _ in range(4):
            seen.append(run.zeros())
            run.update()
        run.attached.end_epoch()
    assert [a != b for a, b in zip(seen, seen[1:])] == [update in (3, 6) for update in range(1, 12)]
