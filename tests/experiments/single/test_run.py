"""The columns of results that a run fills."""

import pytest

from espnet_s3router.experiments.single.run import sparsity_column
from espnet_s3router.methods import resolve


@pytest.mark.parametrize(
    ("mask_conf", "expected"),
    [
        ({"method": "routing", "sparsity": 0.08}, 0.08),
        ({"method": "routing", "target_bytes": 5000}, 0.0312),
        ({"method": "lora"}, None),
        ({"method": "head_only"}, None),
    ],
    ids=str,
)
def test_sparsity(mask_conf, expected):
    """A target in bytes leaves the sparsity to the sizes of the matrices, so it is counted."""
    assert sparsity_column(resolve(mask_conf)[1], {"masked": 0.03124}) == expected
