"""Averages of checkpoints that a training run writes: the mean of the epochs, tensor by tensor."""

import pytest
import torch

from espnet_s3router.plugin.training.task import S3RouterASRTask

ROUTING = {"method": "routing", "sparsity": 0.2}
PRUNED = {"method": "mpi", "sparsity": 0.2}
FEW = {**ROUTING, "candidates": 0.5}


@pytest.mark.parametrize("mask_conf", [ROUTING, FEW, PRUNED], ids=str)
def test_average_of_two_epochs(mask_conf, experiment, tmp_path):
    """Of scores the mean of the magnitudes, because their signs are arbitrary."""
    S3RouterASRTask.main(cmd=experiment(mask_conf=mask_conf, max_epoch=2, keep_nbest_models=2))
    first, second, average = (
        torch.load(tmp_path / "exp" / name) for name in ("1epoch.pth", "2epoch.pth", "valid.loss.ave_2best.pth")
    )
    assert average.keys() == first.keys() and any(not torch.equal(first[key], second[key]) for key in first)
    for key, tensor in average.items():
        models = [state[key].abs() if key.endswith(".scores") else state[key] for state in (first, second)]
        torch.testing.assert_close(tensor, (models[0] + models[1]) / 2, msg=key)
