"""The finished model of the last iteration, with a card that says what it was made of.

    python -m espnet_s3router.pretraining.card exp/hubert_mini --iterations exp/hubert1 exp/hubert2 --store dump \
        --data_dirs data/train_en data/fillets_cs
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import replacing_dir
from espnet_s3router.pretraining.curves import read_log
from espnet_s3router.pretraining.export import HEAD
from espnet_s3router.pretraining.store import FS, read_store


def training_lines(folder: Path, number: int) -> str:
    """What one iteration was and where it ended."""
    about = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    labels, last = about["labels"], read_log(folder)[-1]
    source = "39-dimensional MFCCs" if labels["features"] == "mfcc" else f"the output of layer {labels['layer']}"
    start = f" from the weights of {Path(about['init']).parent.name}" if about["init"] else ""
    batch = about["config"].get("batch", {}).get("seconds", 32)
    return (
        f"- Iteration {number}{start}: targets are {labels['clusters']} k-means clusters of {source}; "
        f"{last['update']:.0f} updates of {batch:g} s of audio in {last['hours']:.2f} hours of updates; at the end "
        f"{last['dev_masked_accuracy']:.1%} of the masked frames of held-out recordings are predicted right."
    )


def card(args: argparse.Namespace) -> str:
    """The text of MODEL_CARD.md."""
    store = read_store(args.store)
    seconds: dict[str, float] = {}
    for utterance in store.utterances:
        seconds[utterance.corpus] = seconds.get(utterance.corpus, 0.0) + utterance.length / FS
    config: dict[str, Any] = json.loads((args.iterations[-1] / "hf" / "config.json").read_text(encoding="utf-8"))
    parts = [
        f"# {args.folder.name}\n",
        "A small HuBERT (arXiv 2106.07447), pretrained by `egs2/s3router/ssl/ssl1` without any text.\n",
        f"- Shape: {len(config['conv_dim'])} convolutions of {', '.join(map(str, config['conv_dim']))} channels, "
        f"{config['num_hidden_layers']} Transformer layers of {config['hidden_size']}, "
        f"{config['num_attention_heads']} heads, feed-forward {config['intermediate_size']}; 50 frames a second; 16 kHz, "
        "each recording normalised to zero mean and unit variance. Stored in half precision, loaded in float32.",
        *(training_lines(folder, number) for number, folder in enumerate(args.iterations, 1)),
        f"- Audio: {store.hours:.2f} h, silence at both ends trimmed, levelled; speed perturbation and noise made on the "
        "fly. One recording in 50 is held out for the accuracies above.",
        "\n| recordings | minutes |\n|---|---|",
        *(f"| {name} | {minutes / 60:.1f} |" for name, minutes in sorted(seconds.items())),
    ]
    return "\n".join(parts) + "\n" + (args.notes.read_text(encoding="utf-8") if args.notes else "")


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--iterations", type=Path, nargs="+", required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data_dirs", type=Path, nargs="*", default=[], help="folders whose LICENCE files are copied along")
    parser.add_argument("--notes", type=Path, help="Markdown that follows: licences, what the model is not good for")
    args = parser.parse_args(argv)
    source = args.iterations[-1] / "hf"
    if not (source / "config.json").is_file():
        raise InputError(f"{source} holds no finished model: pretrain to the end first")
    with replacing_dir(args.folder) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(HEAD))
        (folder / "MODEL_CARD.md").write_text(card(args), encoding="utf-8")
        for data in args.data_dirs:
            if (data / "LICENCE").is_file():  # what recipes leave there, and you may in your own folders
                (folder / "licences").mkdir(exist_ok=True)
                shutil.copyfile(data / "LICENCE", folder / "licences" / f"{data.name}.txt")
    print(
        f"{args.folder}: {sum(f.stat().st_size for f in args.folder.glob('*')) / 2**20:.1f} MiB; load it as hf_hubert_custom"
    )


if __name__ == "__main__":
    raise SystemExit(main())
