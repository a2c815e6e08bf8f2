"""One iteration of pretraining: masked prediction for ``updates`` or ``max_hours``. An interrupted run continues.

The output folder holds ``checkpoint.pth``, the learning curves in ``log.tsv``, and the finished model in ``hf/``.
"""

import argparse
import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.bfloat16 import use_bfloat16
from espnet_s3router.errors import InputError
from espnet_s3router.files import digest, read_yaml, replacing_file, write_atomic
from espnet_s3router.pretraining.batches import Batches
from espnet_s3router.pretraining.clusters import Labels, read_labels, read_settings
from espnet_s3router.pretraining.config import Config
from espnet_s3router.pretraining.export import export, load_weights, weights_digest
from espnet_s3router.pretraining.model import MaskedPrediction, span_mask
from espnet_s3router.pretraining.store import Store, read_store
from espnet_s3router.text_format import clock

LOG_EVERY, SAVE_EVERY = 50, 200  # updates
HEADER = "update\tlr\tloss\tmasked_accuracy\tunmasked_accuracy\tdev_loss\tdev_masked_accuracy\thours\n"
WARMUP = 0.08  # share of the run
CLIP = 5.0  # norm of the gradient


class Training:
    """Model, optimiser and progress of a run. ``args`` are the options of the command ``train``."""

    def __init__(self, config: Config, store: Store, labels: Labels, args: argparse.Namespace) -> None:
        torch.manual_seed(config.seed)
        self.config, self.args = config, args
        self.device = torch.device(args.device)
        self.model = MaskedPrediction(config.model, labels.clusters, config.mask, mel_start=config.mel_start)
        if args.init:
            load_weights(self.model.hubert, args.init)
        self.model.to(self.device)
        self.bfloat16 = use_bfloat16(self.model, self.device, args.autocast, "--autocast")
        self.batches = Batches(store, labels, config.batch, config.seed)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.optim.lr, betas=config.optim.betas, weight_decay=config.optim.weight_decay
        )
        self.update, self.seconds = 0, 0.0
        self.validation = self.batches.validation()

    @property
    def progress(self) -> float:
        """Finished share of the run, in updates or in time, whichever is larger."""
        by_time = self.seconds / 3600 / self.args.max_hours if self.args.max_hours else 0.0
        return min(1.0, max(self.update / self.args.updates, by_time))

    def learning_rate(self) -> float:
        """Return the learning rate of the next update: a linear rise over WARMUP, then a linear fall to 1 %."""
        progress = self.progress
        return self.config.optim.lr * max(0.01, min(progress / WARMUP, (1 - progress) / (1 - WARMUP)))

    def step(self) -> dict[str, float]:
        """Make one update and return the loss and the accuracies of its batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        start = time.perf_counter()
        self.model.train()
        figures = self._forward(self.batches.batch(self.update), (self.config.seed, self.update, 1))
        figures["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP, error_if_nonfinite=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.update += 1
        numbers = {key: value.item() for key, value in figures.items()}
        self.seconds += time.perf_counter() - start
        return numbers

    def _forward(self, batch: tuple[np.ndarray, np.ndarray], seed: tuple[int, ...]) -> dict[str, Tensor]:
        waveforms, labels = (torch.from_numpy(array).to(self.device) for array in batch)
        rows, frames = labels.shape
        masked = span_mask(rows, frames, self.config.mask, np.random.default_rng(seed)).to(self.device)
        mixed = self.bfloat16 and self.model.training
        with torch.autocast(self.device.type, torch.bfloat16) if mixed else nullcontext():
            return self.model(waveforms, labels, masked)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return the loss and the accuracy on masked frames of the validation set. The masks are always the same."""
        self.model.eval()
        figures = [self._forward(batch, (number, 2)) for number, batch in enumerate(self.validation)]
        return {key: float(np.mean([one[key].item() for one in figures])) for key in ("loss", "masked")}

    def save(self, path: Path) -> None:
        """Write a checkpoint that ``resume`` reads."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        with replacing_file(path) as temporary, temporary.open("wb") as file:
            torch.save(state | {"update": self.update, "seconds": self.seconds}, file)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.update, self.seconds = state["update"], state["seconds"]


def train(run: Training, output: Path) -> None:
    """Train to the end, with a row of ``log.tsv`` every LOG_EVERY updates and a checkpoint every SAVE_EVERY updates."""
    log, checkpoint = output / "log.tsv", output / "checkpoint.pth"
    if checkpoint.exists():
        run.resume(checkpoint)
        print(f"{output}: going on from update {run.update}", flush=True)
    rows = log.read_text(encoding="utf-8").splitlines(keepends=True)[1:] if log.exists() else []
    rows = [row for row in rows if int(row.split("\t")[0]) <= run.update]
    recent: list[dict[str, float]] = []  # figures of the updates since the last row
    while run.progress < 1.0:
        learning_rate = run.learning_rate()
        recent.append(run.step())
        ended = run.progress >= 1.0
        if run.update % LOG_EVERY == 0 or ended:
            training = [float(np.mean([one[key] for one in recent])) for key in ("loss", "masked", "unmasked")]
            validation = run.evaluate()
            values = (learning_rate, *training, validation["loss"], validation["masked"], run.seconds / 3600)
            rows.append(f"{run.update}\t" + "\t".join(f"{value:.6g}" for value in values) + "\n")
            write_atomic(log, HEADER + "".join(rows))
            print(
                f"update {run.update}/{run.args.updates}: loss {training[0]:.3f}, masked accuracy "
                f"{validation['masked']:.3f} held out, {run.progress:.0%} done, {clock(run.seconds)} of training",
                flush=True,
            )
            recent = []
        if run.update % SAVE_EVERY == 0 or ended:
            run.save(checkpoint)


def run_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that must not change when a run is resumed."""
    return {
        "config": read_yaml(args.config),
        "updates": args.updates,
        "max_hours": args.max_hours,
        "init": str(args.init or ""),
        "init_weights": weights_digest(args.init) if args.init else "",
        "labels": read_settings(args.labels),
        "targets": digest(args.labels / "labels.npy"),  # another machine may number the same clusters differently
    }


def check_settings(output: Path, settings: dict[str, Any]) -> None:
    """Raise InputError if the folder ``output`` holds a run with other settings."""
    path = output / "settings.json"
    if path.exists() and (old := json.loads(path.read_text(encoding="utf-8"))) != settings:
        key = next(key for key in settings if old.get(key) != settings[key])
        raise InputError(
            f"{output} holds a run with {key} {old.get(key)}, now it is {settings[key]}. Remove the folder to train anew"
        )


def run(args: argparse.Namespace) -> None:
    """Train and export one iteration. ``args`` are the options of the command ``train``."""
    if args.updates < 1 or args.max_hours < 0:
        raise InputError(f"got {args.updates} updates and {args.max_hours} hours, expected at least 1 and at least 0")
    if args.device != "cpu" and not torch.cuda.is_available():
        raise InputError(f"--device is {args.device}, and PyTorch finds no GPU. Expected cpu (--ngpu 0 of the recipe)")
    config = Config.read(args.config)
    settings = run_settings(args)
    check_settings(args.output, settings)
    if (args.output / "hf" / "config.json").exists():
        print(f"{args.output}: trained already")
        return
    store = read_store(args.store)
    training = Training(config, store, read_labels(args.labels, store), args)
    write_atomic(args.output / "settings.json", json.dumps(settings, indent=1) + "\n")
    train(training, args.output)
    export(training.model, args.output / "hf")
