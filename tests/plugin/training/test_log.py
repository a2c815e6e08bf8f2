"""What a run writes about itself."""

from pathlib import Path

import torch

from espnet_s3router.plugin.training.log import describe_model, write_rows
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
