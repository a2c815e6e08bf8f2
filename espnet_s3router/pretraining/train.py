"""One iteration of pretraining: masked prediction until ``updates`` or ``max_hours``, resumable.

    python -m espnet_s3router.pretraining.train --config conf/hubert_mini.yaml --store dump --labels exp/labels1 \
        --output exp/hubert1 --updates 3000 [--init exp/hubert0/hf] [--max_hours 1]

``checkpoint.pth`` holds all that is needed to go on, ``log.tsv`` the curves, ``hf/`` the finished model.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import digest, read_yaml, write_atomic
from espnet_s3router.pretraining.batches import Batches
from espnet_s3router.pretraining.clusters import Labels, about_labels, read_labels
from espnet_s3router.pretraining.config import Config
from espnet_s3router.pretraining.export import export, identity, load_weights
from espnet_s3router.pretraining.model import MaskedPrediction, spans
from espnet_s3router.pretraining.store import Store, read_store
from espnet_s3router.text_format import clock

LOG_EVERY, SAVE_EVERY = 50, 200  # updates
HEADER = "update\tlr\tloss\tmasked_accuracy\tunmasked_accuracy\tdev_loss\tdev_masked_accuracy\thours\n"
DEV_GROUPS = 12  # of held-out recordings, by length
WARMUP = 0.08  # of the updates
CLIP = 5.0


class Run:
    """Model, optimiser and where a run stands."""

    def __init__(self, config: Config, store: Store, labels: Labels, args: argparse.Namespace) -> None:
        torch.manual_seed(config.seed)
        self.config, self.args = config, args
        self.device = torch.device(args.device)
        self.model = MaskedPrediction(config.model, labels.clusters, config.mask, mel_start=config.mel_start)
        if args.init:
            load_weights(self.model.hubert, args.init)
        self.model.to(self.device)
        self.batches = Batches(store, labels, config.batch, config.seed)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.optim.lr, betas=config.optim.betas, weight_decay=config.optim.weight_decay
        )
        self.update, self.seconds = 0, 0.0
        groups = min(DEV_GROUPS, self.batches.held_out_count)
        self.dev = [self.batches.held_out(number, groups) for number in range(groups)]

    @property
    def progress(self) -> float:
        """Share of the run that is done, by updates or by time, whichever is further."""
        by_time = self.seconds / 3600 / self.args.max_hours if self.args.max_hours else 0.0
        return min(1.0, max(self.update / self.args.updates, by_time))

    def rate(self) -> float:
        """Learning rate of the next update: a linear rise over WARMUP, then a linear fall to nearly nothing."""
        done = self.progress
        return self.config.optim.lr * max(0.01, min(done / WARMUP, (1 - done) / (1 - WARMUP)))

    def step(self) -> dict[str, float]:
        """One update; loss and accuracies of its batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        began = time.perf_counter()
        self.model.train()
        found = self._forward(self.batches.batch(self.update), (self.config.seed, self.update, 1))
        found["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP, error_if_nonfinite=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.update += 1
        numbers = {key: value.item() for key, value in found.items()}
        self.seconds += time.perf_counter() - began
        return numbers

    def _forward(self, batch: tuple[np.ndarray, np.ndarray], seed: tuple[int, ...]) -> dict[str, Tensor]:
        waveforms, labels = (torch.from_numpy(array).to(self.device) for array in batch)
        masked = spans(*labels.shape, self.config.mask, np.random.default_rng(seed)).to(self.device)
        half = self.args.autocast and self.model.training
        with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
            return self.model(waveforms, labels, masked)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Loss and accuracy on masked frames of recordings that are not trained on; always the same masks."""
        self.model.eval()
        found = [self._forward(batch, (number, 2)) for number, batch in enumerate(self.dev)]
        return {key: float(np.mean([one[key].item() for one in found])) for key in ("loss", "masked")}

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on, whole or not at all."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("wb") as file:
            torch.save(state | {"update": self.update, "seconds": self.seconds}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def resume(self, path: Path) -> None:
        """Go on from ``path``."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.update, self.seconds = state["update"], state["seconds"]


def train(run: Run, output: Path) -> None:
    """Train to the end, with a row of ``log.tsv`` every LOG_EVERY updates and a checkpoint every SAVE_EVERY."""
    log, checkpoint = output / "log.tsv", output / "checkpoint.pth"
    if checkpoint.exists():
        run.resume(checkpoint)
        print(f"{output}: going on from update {run.update}", flush=True)
    rows = log.read_text(encoding="utf-8").splitlines(keepends=True)[1:] if log.exists() else []
    rows = [row for row in rows if int(row.split("\t")[0]) <= run.update]
    recent: list[dict[str, float]] = []
    while run.progress < 1.0:
        rate = run.rate()
        recent.append(run.step())
        ended = run.progress >= 1.0
        if run.update % LOG_EVERY == 0 or ended:
            train_part = [float(np.mean([one[key] for one in recent])) for key in ("loss", "masked", "unmasked")]
            dev = run.evaluate()
            values = (rate, *train_part, dev["loss"], dev["masked"], run.seconds / 3600)
            rows.append(f"{run.update}\t" + "\t".join(f"{value:.6g}" for value in values) + "\n")
            write_atomic(log, HEADER + "".join(rows))
            print(
                f"update {run.update}/{run.args.updates}: loss {train_part[0]:.3f}, masked accuracy {dev['masked']:.3f} "
                f"held out, {run.progress:.0%} done, {clock(run.seconds)} of training",
                flush=True,
            )
            recent = []
        if run.update % SAVE_EVERY == 0 or ended:
            run.save(checkpoint)


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What must be the same when a run is resumed."""
    return {
        "config": read_yaml(args.config),
        "updates": args.updates,
        "max_hours": args.max_hours,
        "init": str(args.init or ""),
        "init_weights": identity(args.init) if args.init else "",
        "labels": about_labels(args.labels),
        "targets": digest(args.labels / "labels.npy"),  # the same clusters may have other numbers on another machine
    }


def check_settings(args: argparse.Namespace, wanted: dict[str, Any]) -> None:
    """InputError when another run lies in the folder."""
    path = args.output / "settings.json"
    if path.exists() and (found := json.loads(path.read_text(encoding="utf-8"))) != wanted:
        key = next(key for key in wanted if found.get(key) != wanted[key])
        raise InputError(
            f"{args.output} holds a run with {key} {found.get(key)}, now it is {wanted[key]}. Remove the folder to train "
            "anew"
        )


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--max_hours", type=float, default=0.0, help="of training; 0: no limit. Shortens the schedule")
    parser.add_argument("--init", type=Path, help="exported model to start from")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--autocast", action=argparse.BooleanOptionalAction, default=None, help="bfloat16; default: if native"
    )
    args = parser.parse_args(argv)
    if args.autocast is None:
        args.autocast = args.device != "cpu" or torch.cpu._is_avx512_bf16_supported()
    if args.updates < 1 or args.max_hours < 0:
        raise InputError(f"got {args.updates} updates and {args.max_hours} hours, expected at least 1 and at least 0")
    if args.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"--device is {args.device}, and PyTorch finds no GPU. Expected cpu (--ngpu 0 of the recipe)")
    config = Config.read(args.config)
    wanted = settings(args)
    check_settings(args, wanted)
    if (args.output / "hf" / "config.json").exists():
        print(f"{args.output}: trained already")
        return
    store = read_store(args.store)
    run = Run(config, store, read_labels(args.labels, store), args)
    write_atomic(args.output / "settings.json", json.dumps(wanted, indent=1) + "\n")
    train(run, args.output)
    export(run.model, args.output / "hf")


if __name__ == "__main__":
    raise SystemExit(main())
