"""mms_adapter: the adapters of transformers' wav2vec 2.0, with its names and numbers."""

import pytest
import torch
from toys import TOYS, toy_expert

from espnet_s3router.methods import attach
from espnet_s3router.methods.adapters.mms_adapter import LayerAdapter


def reference(dim, width):
    """The class that loads the adapters of MMS."""
    from transformers import Wav2Vec2Config
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2AttnAdapterLayer

    return Wav2Vec2AttnAdapterLayer(Wav2Vec2Config(hidden_size=dim, adapter_attn_dim=width))


@pytest.mark.parametrize("width", [4, 32])
def test_is_the_adapter_of_transformers(width):
    theirs, ours = reference(24, width), LayerAdapter(24, width, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 7, 24, generator=generator)
    torch.testing.assert_close(ours(x), x + theirs(x))


def test_a_whole_model_is_that_of_transformers(tmp_path):
    """Hidden states of every layer of a pre-norm wav2vec 2.0, whose layers have adapters in transformers too."""
    from transformers import Wav2Vec2Model

    source = TOYS["hf_wav2vec2"](tmp_path)["path_or_url"]
    models = [Wav2Vec2Model.from_pretrained(source).eval() for _ in range(2)]
    theirs, ours = models
    expert = torch.nn.Module()
    expert.model = ours
    attached = attach(expert, {"method": "mms_adapter", "bottleneck": 5, "seed": 3})
    generator = torch.Generator().manual_seed(1)
    for index, layer in enumerate(theirs.encoder.layers):
        layer.adapter_layer = reference(16, 5)
        with torch.no_grad():
            for name, parameter in layer.adapter_layer.named_parameters():
                own = attached.trained[f"model.encoder.layers.{index}.mms_adapter.{name}"]
                own.add_(torch.randn(own.shape, generator=generator), alpha=0.3)
                parameter.copy_(own)
    wave = torch.randn(2, 4000, generator=generator)
    with torch.no_grad():
        expected, found = (model(wave, output_hidden_states=True).hidden_states for model in models)
    assert len(expected) == len(found) == 3
    for one, other in zip(expected, found):
        torch.testing.assert_close(one, other)
    assert (found[1] - found[0]).abs().max() > 0.1


def test_initial_values_are_those_of_transformers():
    """Normal with deviation 0.02, biases of zero and a plain norm."""
    attached = attach(toy_expert(), {"method": "mms_adapter", "bottleneck": 400})
    values = {name.split("mms_adapter.")[1]: [] for name in attached.trained}
    for name, parameter in attached.trained.items():
        values[name.split("mms_adapter.")[1]].append(parameter.detach().flatten())
    drawn = torch.cat(values["linear_1.weight"] + values["linear_2.weight"])
    assert drawn.std().item() == pytest.approx(0.02, rel=0.03)
    assert drawn.mean().item() == pytest.approx(0.0, abs=1e-3)
    assert all((torch.cat(values[name]) == 0).all() for name in ("linear_1.bias", "linear_2.bias", "norm.bias"))
    assert (torch.cat(values["norm.weight"]) == 1).all()


def test_bytes_added():
    attached = attach(toy_expert(), {"method": "mms_adapter", "bottleneck": 4})
    assert attached.bytes_added() == 4 * 3 * (2 * 16 * 4 + 4 + 16 + 2 * 16)
