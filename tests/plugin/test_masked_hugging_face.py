"""Masks on the text model of ESPnet's post-encoder: tiny random BERT, RoBERTa and XLNet."""

import pytest
import torch
from espnet2.asr.postencoder.hugging_face_transformers_postencoder import HuggingFaceTransformersPostEncoder
from toy_text_models import MODELS, write_text_model

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.masked_hugging_face import MaskedHuggingFace

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and ESPnet

STATES, LENGTHS = torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([7, 5])
FEED_FORWARD = {
    "Bert": ("intermediate.dense", "output.dense"),
    "Roberta": ("intermediate.dense", "output.dense"),
    "XLNet": ("ff.layer_1", "ff.layer_2"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of each model."""
    return {name: write_text_model(tmp_path_factory.mktemp(name), name) for name in MODELS}


def routing(**options):
    return {"method": "routing", "sparsity": 0.25, **options}


@pytest.mark.parametrize("name", MODELS)
def test_the_forward_is_that_of_espnet_with_masked_weights(folders, name):
    ours = MaskedHuggingFace(8, str(folders[name]), routing()).eval()
    stock = HuggingFaceTransformersPostEncoder(8, str(folders[name])).eval()
    masks = ours.attached.kept()
    expected = {f"layer.{layer}.{part}.weight" for layer in (0, 1) for part in FEED_FORWARD[name]}
    assert masks.keys() == expected
    assert all(int((~mask).sum()) == mask.numel() // 4 for mask in masks.values())
    stock.linear_in.load_state_dict(ours.linear_in.state_dict())
    assert not torch.equal(ours(STATES, LENGTHS)[0], stock(STATES, LENGTHS)[0])
    with torch.no_grad():
        for path, mask in masks.items():
            stock.transformer.get_parameter(path).mul_(mask)
    output, lengths = ours(STATES, LENGTHS)
    assert torch.equal(output, stock(STATES, LENGTHS)[0]) and lengths.tolist() == [7, 5]


@pytest.mark.parametrize("name", MODELS)
def test_masks_of_all_matrices_learn_and_weights_stay(folders, name):
    ours = MaskedHuggingFace(8, str(folders[name]), routing(targets="all"))
    counts = {"XLNet": 2 * (2 + 5)}.get(name, 2 * (2 + 4))
    assert len(ours.attached.masks) == counts
    before = {path: parameter.detach().clone() for path, parameter in ours.transformer.named_parameters()}
    ours.train()(STATES, LENGTHS)[0].square().mean().backward()
    trained = {path for path, parameter in ours.transformer.named_parameters() if parameter.requires_grad}
    assert trained == set(ours.attached.trained) and len(trained) == counts
    assert all(ours.transformer.get_parameter(path).grad.abs().sum() > 0 for path in trained if "rel_attn.r" not in path)
    assert ours.linear_in.weight.grad is not None
    assert all(torch.equal(before[path], parameter) for path, parameter in ours.transformer.named_parameters())


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"method": "parp", "sparsity": 0.2}, "method is parp, expected one of head_only"),
        ({"method": "routing", "sparsity": 1.2}, "sparsity"),
        (routing(initial_mask="other.pth"), "initial_mask, which works for the upstream alone"),
        (routing(flip_penalty=1.0), "flip_penalty, which works for the upstream alone"),
        (routing(targets="*.nothing.weight"), "matches no maskable tensor"),
        (routing(targets="conv"), r"targets is 'conv', and this model \(bert\) has no such tensors"),
    ],
)
def test_options_that_do_not_fit(folders, conf, words):
    with pytest.raises(InputError, match=words):
        MaskedHuggingFace(8, str(folders["Bert"]), conf)


def test_scores_of_text_models_are_averaged_as_magnitudes(folders):
    from espnet_s3router.plugin.training.trainer import keys_of_unsigned_scores

    model = torch.nn.Module()
    model.postencoder = MaskedHuggingFace(8, str(folders["Bert"]), routing())
    keys = keys_of_unsigned_scores(model)
    assert len(keys) == len(model.postencoder.attached.masks) > 0
    assert all(key.startswith("postencoder.transformer.") and key in model.state_dict() for key in keys)


def test_a_folder_without_a_model_and_an_unknown_family(folders, tmp_path):
    with pytest.raises(InputError, match="cannot be loaded"):
        MaskedHuggingFace(8, str(tmp_path), routing())
    from transformers import GPT2Config, GPT2Model

    GPT2Model(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20)).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(InputError, match="layers of no known text model.*Expected one of bert: BERT, RoBERTa"):
        MaskedHuggingFace(8, str(tmp_path / "gpt2"), routing())


def test_a_checkpoint_without_its_masks_is_refused(folders):
    """ESPnet loads with strict=False, and would decode with the first masks."""
    ours, plain = (MaskedHuggingFace(8, str(folders["Bert"]), conf) for conf in (routing(), None))
    with pytest.raises(InputError, match="lacks 8 tensors of the post-encoder.*another method"):
        ours.load_state_dict(plain.state_dict(), strict=False)
    again = MaskedHuggingFace(8, str(folders["Bert"]), routing(init="kaiming_uniform"))
    again.load_state_dict(ours.state_dict())
    assert all(torch.equal(mask, ours.attached.kept()[path]) for path, mask in again.attached.kept().items())


def test_a_run_of_the_slu_task_trains_both_masks(folders, experiment, tmp_path):
    """Scores of upstream and text model have the learning rate of scores; all are saved, and decoded with."""
    import json

    from espnet_s3router.bin.slu_train import main
    from espnet_s3router.plugin.deployment.bake import load_experiment
    from espnet_s3router.plugin.deployment.route import NoRoute, write_experiment

    out = tmp_path / "run"
    conf = {"model_name_or_path": str(folders["Bert"]), "mask_conf": routing()}
    encoder = {
        "encoder": "transformer",
        "encoder_conf": {
            "output_size": 8,
            "attention_heads": 2,
            "linear_units": 8,
            "num_blocks": 1,
            "input_layer": "linear",
        },
    }
    options = {"postencoder": "masked_hugging_face", "postencoder_conf": conf, **encoder, "max_epoch": 1}
    main(experiment(out=out, **options, optim_conf={"lr": 0.5, "head_lr": 0.001}))
    model, _ = load_experiment(out / "config.yaml", out / "1epoch.pth", "slu")
    fresh = MaskedHuggingFace(8, str(folders["Bert"]), routing())
    moved = [(mask != fresh.attached.kept()[path]).any() for path, mask in model.postencoder.attached.kept().items()]
    assert all(moved) and len(moved) == 4
    described = json.loads((out / "model.json").read_text())
    bits = sum(
        masked.mask.numel() for part in (model.frontend, model.postencoder) for masked in part.attached.masks.values()
    )
    others = sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and "scores" not in name)
    assert described["bytes_added"] == pytest.approx(bits / 8 + 4 * others, abs=10)
    with pytest.raises(NoRoute, match="cannot hold the masks of a text model"):
        write_experiment(out / "config.yaml", out / "1epoch.pth", tmp_path / "a.route", task="slu")
