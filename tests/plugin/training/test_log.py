"""What a run writes about itself: progress, its size, and the zeros counted in its live model."""

from pathlib import Path

import pytest
import torch
from toys import toy_expert

from espnet_s3router.methods import attach
from espnet_s3router.plugin.training.log import describe_model, sparsity_report, write_rows
from espnet_s3router.upstreams.count import macs_per_second


def test_rows_of_a_repeated_epoch_are_replaced(tmp_path):
    """A resumed run repeats an epoch that had been logged."""
    path = Path(tmp_path) / "masks.tsv"
    for epoch_number, value in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25)):
        write_rows(path, ("epoch", "value"), epoch_number, [(epoch_number, value)])
    assert path.read_text().splitlines() == ["epoch\tvalue", "1\t0.100000", "2\t0.250000"]


def test_macs_do_not_count_scores(frontend):
    """Neither in the Transformer nor in a masked projection."""
    plain, masked = (
        frontend("hf_hubert", {"method": "routing", "sparsity": 0.2, "targets": [target]})
        for target in ("*.intermediate_dense.weight", "*feature_projection.projection.weight")
    )
    assert macs_per_second(masked.expert, masked.family) == macs_per_second(plain.expert, plain.family)


def test_the_description_has_the_fingerprint_of_the_base(frontend):
    """Twelve digits, which masks and training do not change, and other weights do."""

    def base(family, **options):
        model = torch.nn.Module()
        model.frontend = frontend(family, **options)
        return describe_model(model)["base"]

    assert base("hf_hubert") == base("hf_hubert", mask_conf={"method": "finetune"})
    assert base("hf_hubert") != base("hubert") and len(base("hubert")) == 12


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
