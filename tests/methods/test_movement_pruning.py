"""Movement pruning (arXiv 2005.07683): routing_prune with signed scores from zeros and trained weights."""

from functools import partial

import torch
from toy_runs import Run, loss_of
from toys import toy_expert

CONF = {
    **{"method": "routing_prune", "sparsity": 0.4, "start": "x", "targets": "feed_forward"},
    **{"estimator": "signed", "init": "zeros", "train_weights": True},
    **{"schedule": "cubic", "updates": 8, "ramp_until": 6, "interval": 2},
}
RATE = 0.05


class TopV(torch.autograd.Function):
    """Sec. 3: M is 1 on the v % largest scores; backward, dL/dS = dL/dM straight through."""

    @staticmethod
    def forward(ctx, scores, removed):
        mask = torch.ones(scores.numel())
        mask[scores.flatten().sort(stable=True).indices[:removed]] = 0.0
        return mask.view(scores.shape)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def removed_at(update, numel):
    """The cubic curve of the run above (eq. 4 without warm-up), which prunes after updates 2, 4 and 6."""
    left = 1 - (update - update % 2) / 6 if update < 6 else 0
    return int(0.4 * (1 - left**3) * numel + 0.5)


def test_a_run_is_that_of_the_papers_formulas():
    """Forward W * Top_v(S); autograd does the rest: dL/dW = M * dL/dW_eff, dL/dS = W * dL/dW_eff; plain SGD on both."""
    run = Run(CONF, (torch.optim.SGD, {"lr": RATE}))
    run.attached.begin_epoch(1)
    weights = {name: run.start[name].clone() for name in run.attached.masks}
    scores = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    revived = False
    for update in range(8):
        leaves = [tensor.requires_grad_() for tensor in (*weights.values(), *scores.values())]
        masks = {name: TopV.apply(scores[name], removed_at(update, weights[name].numel())) for name in weights}
        twin = toy_expert().requires_grad_(False)
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                parameter.copy_(run.start.get(name, parameter))
        effective = {name: weights[name] * masks[name] for name in weights}
        loss = loss_of(partial(torch.func.functional_call, twin, effective), update)
        gradients = torch.autograd.grad(loss, leaves)
        for name, masked in run.attached.masks.items():
            assert torch.equal(masked.mask, masks[name].bool()), (update, name)
        moved = [leaf.detach() - RATE * gradient for leaf, gradient in zip(leaves, gradients)]
        before = run.attached.kept()
        run.update()
        weights, scores = dict(zip(weights, moved[: len(weights)])), dict(zip(scores, moved[len(weights) :]))
        for name, masked in run.attached.masks.items():
            torch.testing.assert_close(masked.scores, scores[name], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(run.attached.weights()[name], weights[name], atol=1e-5, rtol=1e-4)
        revived |= any((now & ~before[name]).any() for name, now in run.attached.kept().items())
    assert revived  # a removed weight whose score rose again is back
    assert run.zeros() == sum(removed_at(8, weight.numel()) for weight in weights.values())


def test_removed_weights_do_not_learn_but_their_scores_do():
    run = Run({**CONF, "schedule": "constant", "interval": None, "ramp_until": None})
    run.attached.begin_epoch(1)
    loss_of(run.expert, 0).backward()
    parameters = dict(run.expert.named_parameters())
    for name, masked in run.attached.masks.items():
        original = parameters[name.replace(".weight", ".parametrizations.weight.original")]
        assert not original.grad[~masked.mask].any() and original.grad[masked.mask].any()
        assert masked.scores.grad[~masked.mask].any()
