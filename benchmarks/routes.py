"""Bytes and decoding time of a route file, and a bank of many: masks on the feed-forward matrices of wav2vec2 base.

The masks are random with an exact number of zeros. Learned masks were as hard to code in a first study.
bytes_over_own_entropy: the file without its head, divided by the entropy of its masks, at the sparsity of the papers.
bits_per_connection_best: the file without its head at sparsity 0.03, the lowest with the error of finetuning in that study.
decode_s: seconds to read the file, check it and decode all masks.
eleven_over_models: bytes of a base with eleven routes, divided by those of eleven finetuned models (XLS-R 300M dimensions).
switch_over_copy: seconds to switch between two ready routes, divided by seconds to copy the masked weights once.
restore_identical: true if the base is the same bit for bit after 10,000 switches (toy dimensions); growth_mb: memory added.
base_mb, route_mb, hundred_routes_mb: memory with one route, bytes of a file, memory with a hundred routes (MiB).
candidates_…: see candidates.py.
auto_accuracy: share of the recordings of 2 s and more whose language was found, with --identified.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bank import TARGETS as BANK_TARGETS
from bank import measure_bank
from candidates import TARGETS as CANDIDATES_TARGETS
from candidates import measure_candidates
from quiet import LoadMeter
from report import run

from espnet_s3router.masks import topk_mask
from espnet_s3router.routes import Route, RouteFile, describe, read_route, write_route

SPARSITY, BEST_SPARSITY = 0.08, 0.03
TOKENS = 32
XLSR = (24, 4096, 1024)
"""Layers, inner width and width of XLS-R 300M."""
XLSR_PARAMETERS = 315_438_720
"""Parameters of XLS-R 300M as Wav2Vec2Model of transformers counts them, without the parts for pretraining alone."""
TARGETS = {
    "bytes_over_own_entropy": "<= 1.01",
    "bits_per_connection_best": "<= 0.07",
    "decode_s": "<= 1.5",
    "eleven_over_models": "<= 0.115",
    "auto_accuracy": ">= 0.95",
    **BANK_TARGETS,
    **CANDIDATES_TARGETS,
}


def make_file(path: Path, sparsity: float, layers: int, inner: int, width: int) -> RouteFile:
    """Write a route with random masks on two matrices in each layer."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        f"layers.{n}.fc{k}.weight": (inner, width) if k == 1 else (width, inner) for n in range(layers) for k in (1, 2)
    }
    masks = {name: topk_mask(torch.rand(shape, generator=generator), sparsity) for name, shape in shapes.items()}
    head = {"head/ctc.ctc_lo.weight": torch.randn(TOKENS, width), "head/ctc.ctc_lo.bias": torch.zeros(TOKENS)}
    tokens = [f"token{n}" for n in range(TOKENS)]
    return write_route(path, Route(base="0" * 63 + "1", masks=masks, tensors=head, tokens=tokens))


def masks_bytes(figures: dict[str, Any]) -> int:
    """Bytes of a file except those of its head."""
    return figures["bytes"] - figures["bytes_by_part"]["head"]


def auto_accuracy(identified: Path | None) -> dict[str, float]:
    """The accuracy in the output of ``s3router identify --json``; empty without it."""
    return {"auto_accuracy": json.loads(identified.read_text("utf-8"))["accuracy_from_2_s"]} if identified else {}


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return all figures by key."""
    sizes = (2, 64, 32) if args.tiny else XLSR if args.xls_r else (12, 3072, 768)
    path = folder / "a.route"
    best = describe(make_file(folder / "best.route", BEST_SPARSITY, *sizes))
    figures = describe(make_file(path, SPARSITY, *sizes))
    meter = LoadMeter(1)  # decoding computes in one thread
    times = []
    for _ in range(args.rounds + 1):
        start = time.perf_counter()
        with meter.region("decoding"):
            read_route(path)
        times.append(time.perf_counter() - start)
    large = make_file(folder / "large.route", SPARSITY, *(sizes if args.tiny else XLSR))
    return {
        "bytes_over_own_entropy": masks_bytes(figures) / sum(site["entropy_bytes"] for site in figures["sites"]),
        "bits_per_connection_best": 8 * masks_bytes(best) / best["connections"],
        "decode_s": median(times[1:]),
        "eleven_over_models": (4 * XLSR_PARAMETERS + 11 * large.bytes) / (11 * 4 * XLSR_PARAMETERS),
        **auto_accuracy(args.identified),
        "quiet": meter.quiet(),
        **measure_bank(args, folder),
        **measure_candidates(args, folder),
    }


if __name__ == "__main__":
    files = {"identified": "what `s3router identify --json` printed for trained routes"}
    run(__doc__, TARGETS, measure, {"xls_r": "the dimensions of XLS-R 300M instead of wav2vec2 base"}, files)
