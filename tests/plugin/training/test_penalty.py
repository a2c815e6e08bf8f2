"""The method's own term of the loss, and its numbers in the log."""

from types import SimpleNamespace

import pytest
import torch
from toys import toy_expert

from espnet_s3router.methods import attach
from espnet_s3router.plugin.training.penalty import install_penalty

HJ = {"method": "hj", "sparsity": 0.5, "ramp_until": 2}


class Model(torch.nn.Module):
    """A model with a loss of 3, on a frontend that has a method attached."""

    def __init__(self, conf):
        super().__init__()
        self.frontend = SimpleNamespace(attached=attach(toy_expert(), conf))

    def forward(self, **batch):
        return torch.tensor(3.0), {"loss": torch.tensor(3.0), "loss_ctc": torch.tensor(3.0)}, 1


def test_the_constraint_is_added_in_training_alone():
    model = Model(HJ)
    install_penalty(model)
    loss, stats, _ = model.train().forward()
    assert stats.keys() == {"loss", "loss_ctc", "loss_sparsity", "sparsity_macs"}
    assert float(loss.detach()) == float(stats["loss"]) == pytest.approx(3.0 + float(stats["loss_sparsity"]))
    assert model.eval().forward()[1].keys() == {"loss", "loss_ctc"}


def test_several_sizes_add_nothing_and_log_their_sparsity():
    model = Model({**HJ, "sizes": [0.2]})
    install_penalty(model)
    attached = model.frontend.attached
    attached.begin_epoch(1)
    attached.update = 2
    attached.draw()
    loss, stats, _ = model.train().forward()
    assert float(loss) == float(stats["loss"]) == 3.0
    assert min(abs(float(stats["sparsity_macs"]) - size) for size in (0.2, 0.5)) < 1e-3


def test_other_methods_leave_the_model_as_it_is():
    model = Model({"method": "finetune"})
    install_penalty(model)
    assert "forward" not in vars(model)
