"""A model in the form of Hugging Face: config.json, model.safetensors and preprocessor_config.json."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.files import digest, read_yaml, replacing_dir
from espnet_s3router.pretraining.model import MaskConfig, MaskedPrediction, hubert_config

WEIGHTS = "model.safetensors"
HEAD = "prediction_head.safetensors"


def export(model: MaskedPrediction, folder: Path) -> None:
    """Write the HuBERT of ``model`` to ``folder``, and its prediction head to a separate file.

    The weights are stored in half precision. config.json asks for float32, in which s3prl computes.
    """
    from transformers import Wav2Vec2FeatureExtractor

    with replacing_dir(folder) as temporary:
        model.hubert.save_pretrained(temporary)
        _save_weights(model.hubert, temporary / WEIGHTS, torch.float16)
        _save_weights(model.head, temporary / HEAD)
        config = json.loads((temporary / "config.json").read_text(encoding="utf-8"))
        config |= {"dtype": "float32", "apply_spec_augment": False}
        (temporary / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(temporary)


def _save_weights(module: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    from safetensors.torch import save_file

    weights = {name: tensor.detach().to(dtype).contiguous() for name, tensor in module.state_dict().items()}
    save_file(weights, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors lets only the owner read


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of the weights of an exported model, which tells models in the same folder apart."""
    path = folder / WEIGHTS
    try:
        return digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): expected a model that stage 3 has trained") from error


def export_log_mel(shape: Mapping[str, Any], folder: Path) -> None:
    """Write a random Transformer of ``shape`` on 80 log-mel features, in the form of a Whisper encoder."""
    from transformers import WhisperConfig, WhisperFeatureExtractor
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    hubert = hubert_config(shape)
    config = WhisperConfig(
        d_model=hubert.hidden_size,
        encoder_layers=hubert.num_hidden_layers,
        encoder_attention_heads=hubert.num_attention_heads,
        encoder_ffn_dim=hubert.intermediate_size,
    )
    with replacing_dir(folder) as temporary:
        config.save_pretrained(temporary)
        WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(temporary)
        _save_weights(WhisperEncoder(config), temporary / WEIGHTS)


def load_weights(hubert: nn.Module, folder: Path) -> None:
    """Copy the weights of an exported model into ``hubert``. Raises InputError if the shapes differ."""
    from transformers import HubertModel

    try:
        weights = HubertModel.from_pretrained(folder, dtype=torch.float32).state_dict()
        hubert.load_state_dict(weights)
    except (OSError, RuntimeError) as error:
        raise InputError(f"--init {folder}: {str(error)[:300]}. Expected an exported model of the same shape") from error


def run(args: argparse.Namespace) -> None:
    """Export the model of a configuration with random weights, or with ``log_mel`` its Transformer on log-mels."""
    torch.manual_seed(args.seed)
    options: dict[str, Any] = {"model": {}, "mel_start": False} | read_yaml(args.config)
    if args.log_mel:
        export_log_mel(options["model"], args.folder)
    else:
        export(MaskedPrediction(options["model"], 2, MaskConfig(), mel_start=options["mel_start"]), args.folder)
