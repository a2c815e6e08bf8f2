"""``s3router methods`` explains every option of ``mask_conf``."""

import dataclasses
import json

import pytest

from espnet_s3router.cli.main import main
from espnet_s3router.cli.methods import meanings
from espnet_s3router.methods import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_every_option_is_explained(name):
    config = METHODS[name].config
    silent = {field.name for field in dataclasses.fields(config)} - meanings(config).keys()
    assert not silent, f"{config.__name__} has no docstring under {', '.join(sorted(silent))}"


def test_an_option_with_its_default_and_meaning(capsys):
    assert main(["methods"]) == 0
    _, output = capsys.readouterr().out.split("\nparp  [https://arxiv.org/abs/2106.05933]\n")
    assert "    sparsity: None\n        Fraction of the target tensors" in output
    assert "    form: 'hard_threshold'\n        hard_threshold (as between two prunings of the authors' code)" in output


def test_json(capsys):
    assert main(["methods", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about.keys() == METHODS.keys()
    default, meaning = about["routing"]["options"]["sparsity"]
    assert default == "None" and meaning.startswith("Fraction of the target tensors")
