"""The log of flipped mask bits."""

import pytest
from toy_runs import attached_toy

from espnet_s3router.plugin.training.flip_log import HEADER, FlipLog


def test_flip_log():
    """Counts bits that differ from the last call and from the start."""
    _, attached = attached_toy(method="routing", sparsity=0.25)
    log = FlipLog(attached.kept)
    log.start()
    name = "model.encoder.layers.0.fc1.weight"
    masked = attached.masks[name]
    start = masked.mask.clone()
    first = {row[1]: row for row in log.rows(1)}
    assert all(row[3] == row[4] == 0.0 for row in first.values())
    assert len(first) == len(attached.masks) + 1 and len(HEADER) == len(first["all"])
    masked.set_mask(~start)
    second = {row[1]: row for row in log.rows(2)}
    assert second[name] == (2, name, 0.75, 1.0, 1.0)
    assert second["all"][3] == pytest.approx(1 / 6) and second["all"][2] == pytest.approx((5 * 0.25 + 0.75) / 6)
    masked.set_mask(None)
    third = {row[1]: row for row in log.rows(3)}
    assert third[name] == (3, name, 0.25, 1.0, 0.0)
    assert third["all"][3:] == (pytest.approx(1 / 6), 0.0)


def test_flip_log_without_masks():
    _, attached = attached_toy(method="finetune")
    log = FlipLog(attached.kept)
    log.start()
    assert log.rows(1) == []
