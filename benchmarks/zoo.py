"""Sharing of models: seconds to open a pack, bytes of packs and of the wheel, and seconds until the command prints its help.

from_pretrained_s: seconds of ``Speech2Text.from_pretrained`` for a folder with two routes and their base, after all imports.
The base has random weights at the dimensions of wav2vec2 base, and is checked against its digest.
help_s: seconds of ``s3router --help`` in a process of its own.
five_routes_over_sum: bytes of a zip file with five routes that names its base, divided by those of the five files.
The routes have masks on ``s3router_hubert_mini``, so they are small.
wheel_mb: size of the wheel in 1e6 bytes.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from quiet import LoadMeter, seconds_of
from report import run

ROOT = Path(__file__).resolve().parents[1]

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    import torch
    from arms import TINY, Size, write_upstream
    from bank import source_of, write_routes

    from espnet_s3router.zoo.routes import pack_routes
    from espnet_s3router.zoo.speech2text import Speech2Text

SPARSITY = 0.08
TARGETS = {"from_pretrained_s": "<= 5", "help_s": "<= 0.3", "five_routes_over_sum": "<= 1.5", "wheel_mb": "<= 15"}


def show_help() -> None:
    """Print the help of the command in a process of its own."""
    command = [sys.executable, "-m", "espnet_s3router.cli.main", "--help"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)


def wheel_bytes(folder: Path) -> int:
    """Bytes of the wheel of this checkout."""
    folder.mkdir()
    subprocess.run([sys.executable, ROOT / "tests/build_wheel.py", folder], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel.stat().st_size


def five_routes_over_sum(folder: Path) -> float:
    """Bytes of a pack of five routes without their base, divided by those of the route files."""
    folder.mkdir()
    files = write_routes(folder, {"upstream": "s3router_hubert_mini"}, SPARSITY, 5)
    packed = pack_routes(files, folder / "five.zip", licence="CC0-1.0")
    return packed.bytes / sum(path.stat().st_size for path in files)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures by key."""
    write_upstream(folder / "base.pt", TINY if args.tiny else Size())
    files = write_routes(folder, source_of(folder / "base.pt"), SPARSITY, 2)
    pack = pack_routes(files, folder / "pack", base="inside", base_licence="MIT").path
    meter = LoadMeter(torch.get_num_threads())
    opening = seconds_of(lambda: Speech2Text.from_pretrained(pack, "0", device=args.device), args.rounds, meter)
    return {
        "from_pretrained_s": opening,
        "help_s": seconds_of(show_help, args.rounds),
        "five_routes_over_sum": five_routes_over_sum(folder / "five"),
        "wheel_mb": wheel_bytes(folder / "wheel") / 1e6,
        "quiet": meter.quiet(),
    }


if __name__ == "__main__":
    run(__doc__, TARGETS, measure, {})
