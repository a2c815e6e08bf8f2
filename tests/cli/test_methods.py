"""``s3router methods``: whoever writes a ``mask_conf`` reads there what each option means."""

import dataclasses

import pytest

from espnet_s3router.cli.main import main
from espnet_s3router.cli.methods import meanings
from espnet_s3router.methods import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_every_option_is_explained(name):
    config = METHODS[name].config
    assert {field.name for field in dataclasses.fields(config)} <= meanings(config).keys()


def test_an_option_with_its_default_and_meaning(capsys):
    assert main(["methods"]) == 0
    _, told = capsys.readouterr().out.split("\nparp  [https://arxiv.org/abs/2106.05933]\n")
    assert "    sparsity: required\n        Fraction of the target tensors" in told
    assert "    form: 'hard_threshold'\n        hard_threshold (the authors' code) or remask" in told
