"""The finished model of the last iteration, with a card that describes its training."""

import argparse
import json
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_dir
from espnet_s3router.pretraining.curves import read_log
from espnet_s3router.pretraining.export import HEAD
from espnet_s3router.pretraining.recordings import FS
from espnet_s3router.pretraining.store import Store, read_store


def run(args: argparse.Namespace) -> None:
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
