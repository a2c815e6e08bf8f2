"""Time of one update of ESPnet's SLU model: with its own s3prl frontend, and with masks.

    python benchmarks/slu_step.py --json [--device cuda] [--rounds 5]

Both have the same configuration, a small Transformer encoder and decoder with CTC beside it, on an upstream of random
weights with the dimensions of wav2vec2 base. ESPnet's task trains all weights of the upstream. So does ``finetune_cnn``.
``finetune`` trains the weights of the Transformer, and ``routing`` masks of its feed-forward matrices. All live in one
process and take turns. ``quiet`` is false if other processes ran during the measurement.
"""

import argparse
import contextlib
import io
import time
from pathlib import Path
from statistics import median
from typing import Any

from quiet import LoadMeter
from report import run

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    import torch
    import yaml
    from arms import ARMS, TINY, VOCABULARY, Size, threads, write_upstream
    from espnet2.tasks.slu import SLUTask

    from espnet_s3router.plugin.training.task import S3RouterSLUTask

TARGETS = {"routing_over_espnet": "<= 1.0", "finetune_cnn_over_espnet": "<= 1.0"}
FRONTENDS: dict[str, dict[str, Any]] = {
    "espnet": {"frontend": "s3prl", "frontend_conf": {"multilayer_feature": False}},
    **{
        name: {"frontend": "masked_upstream", "frontend_conf": {"multilayer_feature": False, **ARMS[name]}}
        for name in ("finetune", "finetune_cnn", "routing")
    },
}
SHARED: dict[str, Any] = {
    "encoder": "transformer",
    "encoder_conf": {
        "output_size": 256,
        "attention_heads": 4,
        "linear_units": 1024,
        "num_blocks": 2,
        "input_layer": "linear",
    },
    "decoder": "transformer",
    "decoder_conf": {"attention_heads": 4, "linear_units": 1024, "num_blocks": 2},
    "model_conf": {"ctc_weight": 0.3},
    "specaug": None,
    "normalize": None,
    "optim": "adam",
    "optim_conf": {"lr": 5.0e-5},
}


class Arm:
    """One model of ESPnet's SLU task with its optimiser and a batch."""

    def __init__(self, name: str, checkpoint: Path, folder: Path, *, batch: int, seconds: float, device: str) -> None:
        torch.manual_seed(1)
        task: Any = SLUTask if name == "espnet" else S3RouterSLUTask
        config = SHARED | FRONTENDS[name]
        source = {"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)}
        config["frontend_conf"] = {**config["frontend_conf"], "frontend_conf": source}
        (path := folder / f"{name}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        tokens = folder / "tokens.txt"
        tokens.write_text("".join(f"{n}\n" for n in ("<blank>", "<unk>", *range(VOCABULARY), "<sos/eos>")), encoding="utf-8")
        words = ["--config", str(path), "--token_list", str(tokens), "--token_type", "word", "--dry_run", "true"]
        args = task.get_parser().parse_args([*words, "--output_dir", str(folder / name)])
        self.model = task.build_model(args).to(device).train()
        (self.optimizer,) = task.build_optimizers(args, self.model)
        self.device = device
        length = int(16000 * seconds)
        text = torch.randint(2, VOCABULARY, (batch, max(1, int(4 * seconds))), device=device)
        self.batch = {
            "speech": torch.randn(batch, length, device=device),
            "speech_lengths": torch.full((batch,), length, device=device),
            "text": text,
            "text_lengths": torch.full((batch,), text.shape[1], device=device),
        }

    def step(self) -> float:
        """Make one update and return its seconds."""
        start = self.now()
        self.model(**self.batch)[0].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.now() - start

    def now(self) -> float:
        """Return the time in seconds, after all work of the device is done."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the median seconds of a step for each arm, and their ratios."""
    write_upstream(checkpoint := folder / "upstream.pt", TINY if args.tiny else Size())
    options = {"batch": 2, "seconds": 0.5 if args.tiny else 5.0, "device": args.device}
    arms = {name: Arm(name, checkpoint, folder, **options) for name in FRONTENDS}
    for arm in arms.values():  # two steps create Adam's state and the first masks
        arm.step()
        arm.step()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    meter = LoadMeter(threads(args.device))
    for _ in range(args.rounds):
        for name, arm in arms.items():
            with meter.region(name):
                seconds[name].append(arm.step())
    figures: dict[str, Any] = {f"{name}_s": median(values) for name, values in seconds.items()}
    figures |= {f"{name}_over_espnet": figures[f"{name}_s"] / figures["espnet_s"] for name in arms if name != "espnet"}
    return figures | {"quiet": meter.quiet()}


if __name__ == "__main__":
    run(__doc__, TARGETS, measure, {})
