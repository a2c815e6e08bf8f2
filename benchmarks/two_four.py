"""Time of a feed-forward matrix product with a 2:4 mask on a GPU's sparse tensor cores, against the dense product.

    python benchmarks/two_four.py --json --device cuda

float16, the dimensions of XLS-R 300M, 8192 frames. Sparse tensor cores need 2 zeros in each group of 4 inputs
(arXiv 2104.08378). ``dense_over_sparse`` above 1 is a gain; ``same`` says that both products agree.
"""

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from report import run

from espnet_s3router.masks import nm_mask

FRAMES, WIDTH, INNER = 8192, 1024, 4096


def seconds(product: Any, rounds: int) -> float:
    """Median seconds of a product, after two to warm up; 20 products a round."""
    times = []
    for _ in range(rounds + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(20):
            product()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / 20)
    return median(times[2:])


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return all figures by key."""
    if args.device != "cuda" or not torch.cuda.is_available():
        raise SystemExit("two_four: sparse tensor cores are on a GPU only: give --device cuda on a machine that has one")
    torch.manual_seed(0)
    figures: dict[str, Any] = {}
    for name, (outputs, inputs) in {"fc1": (INNER, WIDTH), "fc2": (WIDTH, INNER)}.items():
        weight = torch.randn(outputs, inputs, device="cuda") / inputs**0.5
        masked = (weight * nm_mask(weight, 2, 4)).half()
        sparse = torch.sparse.to_sparse_semi_structured(masked)
        frames = torch.randn(FRAMES, inputs, device="cuda", dtype=torch.float16)
        dense_s = seconds(lambda x=frames, w=masked: torch.nn.functional.linear(x, w), args.rounds)
        sparse_s = seconds(lambda x=frames, w=sparse: torch.nn.functional.linear(x, w), args.rounds)
        same = torch.allclose(
            torch.nn.functional.linear(frames, masked), torch.nn.functional.linear(frames, sparse), atol=1e-2
        )
        figures |= {f"{name}_dense_s": dense_s, f"{name}_dense_over_sparse": dense_s / sparse_s, f"{name}_same": same}
    return figures


if __name__ == "__main__":
    run(__doc__, {"fc1_dense_over_sparse": "> 1", "fc2_dense_over_sparse": "> 1"}, measure, {})
