"""The sparsity report counts zeros in a live model."""

import pytest
import torch
from toys import toy_expert

from espnet_s3router.methods import attach
from espnet_s3router.methods.sparsity_report import sparsity_report

HALF = {
    "routing": {"method": "routing", "sparsity": 0.5, "targets": "all"},
    "magnitude": {"method": "magnitude", "sparsity": 0.5, "targets": "all"},
    "mpi": {"method": "mpi", "sparsity": 0.5},
    "parp": {"method": "parp", "sparsity": 0.5},
}
MATRICES = 3 * (4 * 16 * 16 + 2 * 16 * 32)  # three layers of four attention and two feed-forward matrices


def in_model(conf):
    """A toy upstream with the method and a head of 16 x 2 + 2 weights beside it."""
    model = torch.nn.Module()
    model.upstream = toy_expert()
    model.head = torch.nn.Linear(16, 2)
    attached = attach(model.upstream, conf)
    attached.begin()
    return model, attached


@pytest.mark.parametrize("method", HALF)
def test_report(method):
    """Masks and pruning in place give the same report. Scores are not weights, and the head is dense."""
    model, attached = in_model(HALF[method])
    upstream = sum(p.numel() for p in toy_expert().parameters())
    zeros = MATRICES // 2
    assert sparsity_report(model, attached) == {
        "entries": MATRICES,
        "zeros": zeros,
        "masked": 0.5,
        "upstream": pytest.approx(zeros / upstream),
        "model": pytest.approx(zeros / (upstream + 34)),
        "effective_bytes": MATRICES // 8 + 4 * (upstream + 34 - zeros),
    }


@pytest.mark.parametrize("method", ["routing", "mpi"])
def test_what_is_counted_is_there(method):
    """The report counts tensors and ignores the options."""
    model, attached = in_model(HALF[method])
    with torch.no_grad():
        if method == "mpi":
            next(iter(attached.sites.values())).zero_()
        else:
            for masked in attached.masks.values():
                masked.set_mask(torch.zeros_like(masked.mask))
    assert sparsity_report(model, attached)["masked"] > 0.5 + (0.4 if method == "routing" else 0.0)


def test_report_without_masks():
    model, attached = in_model({"method": "finetune"})
    report = sparsity_report(model, attached)
    assert report["zeros"] == report["masked"] == report["model"] == 0
    assert report["effective_bytes"] == 4 * sum(p.numel() for p in model.parameters())
