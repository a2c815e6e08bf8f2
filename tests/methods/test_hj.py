"""HJ-Pruning: gates and penalty against the papers' definitions, exact targets, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from structures import base_structure, share_removed
from toys import toy_expert

from espnet_s3router.errors import InputError
from espnet_s3router.methods import attach
from espnet_s3router.methods.structured import hard_concrete
from espnet_s3router.methods.structured.cost import constraints_of, kept_units
from espnet_s3router.methods.structured.gates import Gate
from espnet_s3router.methods.structured.lagrangian import Lagrangian
from espnet_s3router.methods.structured.place import places_of, widths_of
from espnet_s3router.upstreams import family_of

HJ = {"method": "hj", "sparsity": 0.4, "updates": 30}
WAVE = torch.randn(2, 320 * 7, generator=torch.Generator().manual_seed(9))
BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1


class TestHardConcrete:
    """Against arXiv 1712.01312, written anew with numpy and scipy."""

    log_alpha = np.array([-4.0, -2.0, -0.3, 0.0, 1.5, 4.6])

    def test_samples(self):
        """Eq. 10 and 11: s = sigmoid((log u - log(1 - u) + log alpha) / beta), stretched, then limited to [0, 1]."""
        u = np.linspace(0.001, 0.999, 97)
        for value in self.log_alpha:
            s = 1 / (1 + np.exp(-(np.log(u) - np.log1p(-u) + value) / BETA))
            expected = np.minimum(1.0, np.maximum(0.0, s * (ZETA - GAMMA) + GAMMA))
            ours = hard_concrete.sample(torch.full((97,), value, dtype=torch.float64), torch.from_numpy(u))
            np.testing.assert_allclose(ours, expected, atol=1e-12)

    def test_open_probability(self):
        """1 - Q(0), with the distribution function of the stretched binary concrete (appendix B): Q_s(s) =
        sigmoid((log s - log(1 - s)) beta - log alpha) at s = (0 - gamma) / (zeta - gamma)."""
        s = (0.0 - GAMMA) / (ZETA - GAMMA)
        expected = 1 - 1 / (1 + np.exp(-((math.log(s) - math.log(1 - s)) * BETA - self.log_alpha)))
        np.testing.assert_allclose(hard_concrete.open_probability(torch.from_numpy(self.log_alpha)), expected, atol=1e-12)

    def test_share_of_open_samples(self):
        torch.manual_seed(0)
        for value in self.log_alpha:
            log_alpha = torch.full((40000,), value)
            opened = (hard_concrete.sample(log_alpha, hard_concrete.noise_like(log_alpha)) > 0).float().mean()
            assert float(opened) == pytest.approx(float(hard_concrete.open_probability(log_alpha[0])), abs=0.01)

    def test_values_of_evaluation_are_near_the_mean_of_open_gates(self):
        torch.manual_seed(0)
        for value in (-1.0, 0.0, 1.0, 4.6):
            log_alpha = torch.full((40000,), value)
            z = hard_concrete.sample(log_alpha, hard_concrete.noise_like(log_alpha))
            assert float(hard_concrete.evaluated(log_alpha[0])) == pytest.approx(float(z.mean()), abs=0.07)

    def test_initial_gates_are_open(self):
        log_alpha = hard_concrete.initial(5000, 0.01, torch.Generator().manual_seed(0))
        assert float(log_alpha.mean()) == pytest.approx(math.log(99), abs=1e-3)
        assert float(log_alpha.std()) == pytest.approx(0.01, rel=0.05)


def test_binary_gates():
    """0 or 1 by the sign, and the gradient of the sigmoid."""
    gate = Gate(torch.tensor([-3.0, -0.1, 0.1, 2.0]), "binary")
    gate.noise = torch.zeros(4)
    values = gate()
    assert values.tolist() == [0.0, 0.0, 1.0, 1.0]
    (grad,) = torch.autograd.grad((values * torch.arange(1.0, 5.0)).sum(), gate.log_alpha)
    soft = 1 / (1 + np.exp(-gate.log_alpha.detach().numpy()))
    np.testing.assert_allclose(grad, soft * (1 - soft) * np.arange(1, 5), rtol=1e-6)


def test_lagrangian():
    """max over lambda of lambda_1 (s - t) + lambda_2 (s - t)^2 (arXiv 2302.14132), one pair for each constraint."""
    lagrangian = Lagrangian(2)
    with torch.no_grad():
        lagrangian.multipliers.copy_(torch.tensor([[1.5, 4.0], [-2.0, 3.0]]))
    s, t = torch.tensor([0.2, 0.7], requires_grad=True), torch.tensor([0.5, 0.4])
    value = lagrangian(s, t)
    assert float(value.detach()) == pytest.approx(1.5 * -0.3 + 4.0 * 0.09 - 2.0 * 0.3 + 3.0 * 0.09)
    value.backward()
    np.testing.assert_allclose(lagrangian.multipliers.grad, [[-0.3, 0.09], [0.3, 0.09]], rtol=1e-5)
    np.testing.assert_allclose(s.grad, [1.5 + 2 * 4.0 * -0.3, -2.0 + 2 * 3.0 * 0.3], rtol=1e-5)


@pytest.mark.parametrize("variant", ["size", "macs", "sep_macs"])
def test_expected_sparsity_is_the_mean_over_drawn_models(variant):
    expert = toy_expert()
    attached = attach(expert, {**HJ, "variant": variant, "closed": 0.4})
    torch.manual_seed(0)
    drawn = []
    for _ in range(600):
        attached.gates.draw()
        sizes = {name: int((gate().detach() > 0).sum()) for name, gate in attached.gates.groups.items()}
        widths = widths_of(attached.structure, sizes)
        drawn.append([share_removed(attached.structure, widths, constraint.name) for constraint in attached.constraints])
    expected = attached.expected_sparsity()
    assert expected.requires_grad
    np.testing.assert_allclose(np.mean(drawn, axis=0), expected.detach(), atol=4 * np.max(np.std(drawn, axis=0)) / 600**0.5)


@pytest.mark.parametrize("variant", ["size", "macs", "sep_macs"])
@pytest.mark.parametrize("sparsity", [0.1, 0.4, 0.7])
def test_the_target_is_met_at_base_dimensions(variant, sparsity):
    """Within 0.1 % of the cost, whatever the gates are; conv.3 would lose all its channels, but keeps one."""
    structure = base_structure()
    generator = torch.Generator().manual_seed(1)
    places = places_of(structure, family_of(toy_expert()))
    gates = {p.name: Gate(2 * torch.randn(p.size, generator=generator), "hard_concrete") for p in places}
    with torch.no_grad():
        gates["conv.3"].log_alpha.fill_(-99.0)
    constraints = constraints_of(structure, places, variant, sparsity, None, 10.0)
    counts = kept_units(places, lambda place, shift: gates[place.name].expected(shift), constraints)
    assert counts["conv.3"] == 1
    widths = widths_of(structure, counts)
    for constraint in constraints:
        numbers = torch.tensor(list(counts.values()))
        assert float(constraint.sparsity(numbers)) == pytest.approx(share_removed(structure, widths, constraint.name))
        if constraint.name != "cnn_macs" or sparsity > 0.3:  # conv.3 alone takes a quarter of the frontend's MACs away
            assert float(constraint.sparsity(numbers)) == pytest.approx(sparsity, abs=1e-3)


def test_units_with_the_lowest_gates_are_closed_and_others_keep_soft_values():
    attached = attach(toy_expert(), HJ)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for gate in attached.gates.groups.values():
            gate.log_alpha.copy_(torch.randn(gate.log_alpha.shape, generator=generator))
    for gate in attached.gates.groups.values():
        values, kept = gate().detach(), gate.kept()
        assert bool((values[~kept] == 0).all())
        expected = 1 / (1 + np.exp(-0.8 * 1.5 * gate.log_alpha.detach()[kept].numpy()))
        np.testing.assert_allclose(values[kept], expected, rtol=1e-5)
        if kept.any() and not kept.all():
            assert gate.log_alpha[kept].min() > gate.log_alpha[~kept].max()


def train(conf, updates, task=lambda out: 0.01 * out.square().mean()):
    """A run with the method's penalty and groups of the optimiser; (handle, optimiser, its last numbers)."""
    torch.manual_seed(0)
    expert = toy_expert()
    attached = attach(expert, conf)
    attached.begin()
    separate = {id(p) for group in attached.optimizer_groups() for p in group["params"]}
    weights = [p for p in attached.trained.values() if id(p) not in separate]
    optimizer = torch.optim.Adam([{"params": weights, "lr": 1e-3}, *attached.optimizer_groups()])
    attached.begin_epoch(1)
    for update in range(1, updates + 1):
        optimizer.zero_grad()
        added, numbers = attached.penalty()
        (task(expert(WAVE)) + added).backward()
        optimizer.step()
        attached.update = update
        attached.step(update, optimizer)
    attached.end_epoch()
    return attached, optimizer, numbers


def test_training_reaches_the_target():
    """The multipliers ascend until the expected sparsity follows the ramp. The model of evaluation has the target itself."""
    conf = {**HJ, "ramp_until": 60, "updates": 300, "gate_lr": 0.1, "multiplier_lr": 0.1}
    attached, optimizer, numbers = train(conf, 300)
    assert float(numbers["sparsity_macs"]) == pytest.approx(0.4, abs=0.01)
    assert attached.reached() == pytest.approx([0.4], abs=0.02)  # a channel of the toy costs 2 %
    assert float(attached.lagrangian.multipliers[0, 1].detach()) > 1.0
    assert [group.get("maximize") for group in optimizer.param_groups] == [False, False, True]
    assert attached.shortfall() == ""


def test_a_run_that_was_too_short_says_so():
    attached, *_ = train(HJ, 3)
    assert attached.reached() == pytest.approx([0.4], abs=0.02)
    assert "expected sparsity of 0.0" in attached.shortfall() and "raise gate_lr (0.02)" in attached.shortfall()


def test_binary_gates_close_under_the_penalty():
    attached, _, numbers = train(
        {**HJ, "gates": "binary", "closed": 0.4, "gate_lr": 0.02, "ramp_until": 20, "updates": 150}, 150
    )
    assert float(numbers["sparsity_macs"]) > 0.2
    assert attached.reached() == pytest.approx([0.4], abs=0.02)  # a channel of the toy costs 2 %
    assert all(bool(((gate() == 0) | (gate() == 1)).all()) for gate in attached.gates.groups.values())


def test_every_forward_pass_of_training_draws_new_gates():
    expert = toy_expert()
    attached = attach(expert, {**HJ, "closed": 0.5})
    torch.manual_seed(0)
    assert torch.equal(expert(WAVE), expert(WAVE))
    attached.begin_epoch(1)
    assert not torch.equal(expert(WAVE), expert(WAVE))
    attached.end_epoch()
    assert torch.equal(expert(WAVE), expert(WAVE))


def test_the_target_of_training_rises():
    attached = attach(toy_expert(), {**HJ, "ramp_until": 10})
    with torch.no_grad():
        attached.lagrangian.multipliers[0, 0] = 1.0
    found = []
    for attached.update in (0, 5, 10, 30):
        added, numbers = attached.penalty()
        found.append(float(numbers["sparsity_macs"] - added.detach()))
    assert found == pytest.approx([0.0, 0.2, 0.4, 0.4], abs=1e-6)


def test_the_state_of_training_holds_the_multipliers():
    attached, *_ = train(HJ, 3)
    other = attach(toy_expert(), HJ)
    other.load_training_state(attached.training_state())
    assert torch.equal(other.lagrangian.multipliers, attached.lagrangian.multipliers)
    assert bool((other.lagrangian.multipliers != 0).all())


def test_multipliers_follow_the_upstream_to_its_device():
    """The optimiser is built after the model has moved; a resumed run loads its state onto that device."""
    attached = attach(toy_expert(), HJ)
    attached.upstream.to("meta")
    for gate in attached.gates.groups.values():
        assert gate.log_alpha.device.type == "meta"
    (multipliers,) = attached.optimizer_groups()[1]["params"]
    assert multipliers.device.type == "meta"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sparsity": 0.0}, "sparsity is 0.0, expected a share to remove in"),
        ({"sparsity": 0.99}, r"sparsity 0.99 of macs cannot be reached: .* at most 0\.\d+ can be removed"),
        ({"sparsity": 0.5, "units": ["conv"]}, r"with units conv at most 0\.\d+ can be removed, which leaves 0\.\d+"),
        ({"variant": "flops"}, "variant is 'flops', expected one of size, macs, sep_macs"),
        ({"variant": "sep_macs", "units": ["conv"]}, "expected conv and at least one of attention"),
        ({"cnn_sparsity": 0.5}, "cnn_sparsity with variant macs is a contradiction"),
        ({"units": ["heads"]}, r"units is \('heads',\), expected some of conv, attention, feed_forward"),
        ({"gates": "soft"}, "gates is 'soft', expected one of hard_concrete, binary"),
        ({"seconds": 0.01}, "seconds is 0.01, expected a length"),
        ({"closed": 1.0}, "closed is 1.0, expected a probability"),
        ({"gate_lr": 0.0}, "gate_lr is 0.0, expected a learning rate"),
        ({"ramp_until": 31}, "ramp_until is 31, expected at most updates"),
        ({"updates": None}, "updates is None, expected the updates of the whole run, or ramp_until"),
    ],
)
def test_bad_options(change, message):
    with pytest.raises(InputError, match=message):
        attach(toy_expert(), HJ | change)
