"""A model in the form of Hugging Face: config.json, model.safetensors and preprocessor_config.json.

The finished model of the last iteration has a card beside it, which describes its training.
"""

import argparse
import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.files import digest, read_yaml, replacing_dir
from espnet_s3router.pretraining.curves import read_log
from espnet_s3router.pretraining.model import MaskConfig, MaskedPrediction, hubert_config
from espnet_s3router.pretraining.recordings import FS
from espnet_s3router.pretraining.store import Store, read_store

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


def run_card(args: argparse.Namespace) -> None:
    """Write the folder: the model of the last of ``iterations``, its card, and the LICENCE files of ``data_dirs``."""
    source = args.iterations[-1] / "hf"
    if not (source / "config.json").is_file():
        raise InputError(f"{source} holds no finished model: pretrain to the end first")
    with replacing_dir(args.folder) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(HEAD))
        card = model_card(args.folder.name, args.iterations, read_store(args.store))
        card += args.notes.read_text(encoding="utf-8") if args.notes else ""
        (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
        for data in args.data_dirs:
            if (data / "LICENCE").is_file():  # the recipe writes it for its corpora; users can add their own
                (folder / "licences").mkdir(exist_ok=True)
                shutil.copyfile(data / "LICENCE", folder / "licences" / f"{data.name}.txt")
    size = sum(file.stat().st_size for file in args.folder.glob("*")) / 2**20
    print(f"{args.folder}: {size:.1f} MiB; load it as hf_hubert_custom")


def model_card(name: str, iterations: Sequence[Path], store: Store) -> str:
    """Return the text of MODEL_CARD.md."""
    minutes: dict[str, float] = defaultdict(float)
    for utterance in store.utterances:
        minutes[utterance.corpus] += utterance.length / FS / 60
    config: dict[str, Any] = json.loads((iterations[-1] / "hf" / "config.json").read_text(encoding="utf-8"))
    parts = [
        f"# {name}\n",
        "A small HuBERT (arXiv 2106.07447), pretrained by `egs2/s3router/ssl/ssl1` without any text.\n",
        f"- Shape: {len(config['conv_dim'])} convolutions of {', '.join(map(str, config['conv_dim']))} channels, "
        f"{config['num_hidden_layers']} Transformer layers of {config['hidden_size']}, "
        f"{config['num_attention_heads']} heads, feed-forward {config['intermediate_size']}; 50 frames a second; 16 kHz, "
        "each recording normalised to zero mean and unit variance. Stored in half precision, loaded in float32.",
        *(iteration_line(folder, number) for number, folder in enumerate(iterations, 1)),
        f"- Audio: {store.hours:.2f} h, silence at both ends trimmed, levelled; speed perturbation and noise made on the "
        "fly. One recording in 50 is held out for the accuracies above.",
        "\n| recordings | minutes |\n|---|---|",
        *(f"| {corpus} | {value:.1f} |" for corpus, value in sorted(minutes.items())),
    ]
    return "\n".join(parts) + "\n"


def iteration_line(folder: Path, number: int) -> str:
    """Describe one iteration: its targets, its length and its final accuracy."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    labels, last = settings["labels"], read_log(folder)[-1]
    source = "39-dimensional MFCCs" if labels["features"] == "mfcc" else f"the output of layer {labels['layer']}"
    start = f" from the weights of {Path(settings['init']).parent.name}" if settings["init"] else ""
    batch = settings["config"].get("batch", {}).get("seconds", 32)
    return (
        f"- Iteration {number}{start}: targets are {labels['clusters']} k-means clusters of {source}; "
        f"{last['update']:.0f} updates of {batch:g} s of audio in {last['hours']:.2f} hours of updates; at the end "
        f"{last['dev_masked_accuracy']:.1%} of the masked frames of held-out recordings are predicted right."
    )
