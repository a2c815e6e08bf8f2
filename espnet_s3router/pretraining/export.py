"""A pretrained model as others load it: config.json, model.safetensors (half precision) and preprocessor_config.json.

python -m espnet_s3router.pretraining.export conf/hubert_mini.yaml exp/random             what training begins with
python -m espnet_s3router.pretraining.export conf/hubert_mini.yaml exp/log_mel --log_mel  its Transformer on log-mels

Both are random, to compare with.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import digest, read_yaml, replacing_dir
from espnet_s3router.pretraining.model import MaskConfig, MaskedPrediction, hubert_config

HEAD = "prediction_head.safetensors"


def export(model: MaskedPrediction, folder: Path) -> None:
    """Write the HuBERT of ``model`` to ``folder`` in Hugging Face's form, and its prediction head in a file of its own.

    The weights are stored in half precision; config.json asks for float32, in which s3prl computes.
    """
    from safetensors.torch import save_file

    with replacing_dir(folder) as temporary:
        model.hubert.save_pretrained(temporary)
        weights = {name: tensor.detach().half().contiguous() for name, tensor in model.hubert.state_dict().items()}
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        (temporary / "model.safetensors").chmod(0o644)  # written for its owner alone
        save_file({k: v.detach().contiguous() for k, v in model.head.state_dict().items()}, temporary / HEAD)
        config = json.loads((temporary / "config.json").read_text(encoding="utf-8"))
        config |= {"dtype": "float32", "apply_spec_augment": False}
        (temporary / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        preprocessor = {
            "do_normalize": True,
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": True,
            "sampling_rate": 16000,
        }
        (temporary / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n", encoding="utf-8")


def identity(folder: Path) -> str:
    """SHA-256 of the weights of an exported model: another model may be trained into the same folder."""
    path = folder / "model.safetensors"
    try:
        return digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): expected a model that stage 3 has trained") from error


def export_log_mel(shape: Mapping[str, Any], folder: Path) -> None:
    """Write a random Transformer of ``shape`` on 80 log-mel features, in the form of a Whisper's encoder."""
    from safetensors.torch import save_file
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
        weights = {name: tensor.detach().contiguous() for name, tensor in WhisperEncoder(config).state_dict().items()}
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})


def load_weights(hubert: nn.Module, folder: Path) -> None:
    """Copy the weights of an exported model into one of the same shape; InputError when it has another."""
    from transformers import HubertModel

    try:
        weights = HubertModel.from_pretrained(folder, dtype=torch.float32).state_dict()
        hubert.load_state_dict(weights)
    except (OSError, RuntimeError) as error:
        raise InputError(f"--init {folder}: {str(error)[:300]}. Expected an exported model of the same shape") from error


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Export a model that was not trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--log_mel", action="store_true", help="its Transformer on log-mels: loaded by hf_whisper_custom")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    given = {"model": {}, "mel_start": False} | read_yaml(args.config)
    if args.log_mel:
        export_log_mel(given["model"], args.folder)
        return
    export(MaskedPrediction(given["model"], 2, MaskConfig(), mel_start=given["mel_start"]), args.folder)


if __name__ == "__main__":
    raise SystemExit(main())
