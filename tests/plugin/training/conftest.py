"""Models of finetuned runs, and models whose method has started."""

import pytest
import torch


@pytest.fixture
def finetuned(asr_model, tmp_path):
    """save(**as for experiment) -> (path of a model file with disturbed trained weights, its tensors)."""

    def save(name="dense", mask_conf=None, **options):
        model, _ = asr_model(mask_conf=mask_conf or {"method": "finetune"}, **options)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
        (tmp_path / name).mkdir()
        path = tmp_path / name / "valid.loss.ave.pth"
        torch.save(model.state_dict(), path)
        return str(path), torch.load(path)

    return save


@pytest.fixture
def started(asr_model):
    """build(mask_conf, **as for experiment) -> a model whose method has started."""
    from espnet_s3router.plugin.training.start_model import start_method

    def build(mask_conf, **options):
        model, _ = asr_model(mask_conf=mask_conf, **options)
        start_method(model)
        return model

    return build


@pytest.fixture
def states(tmp_path):
    """load(name, folder) -> the tensors of a model file; ESPnet's checkpoint.pth holds NumPy scalars beside them."""
    return lambda name, folder="exp": torch.load(tmp_path / folder / name, weights_only=name != "checkpoint.pth")
