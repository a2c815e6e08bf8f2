"""Speed, exactness and cost of structured pruning (method hj), at the dimensions of wav2vec2 base.

    python benchmarks/shrink.py --json [--rounds 5] [--widths shrunk.json]

The model has random weights, and half of its MACs are removed. ``speedup_torch`` is that of an even shape, which keeps the
same share of every layer, on one and on two threads. ``speedup_torch_trained_shape`` is that of an uneven one: sizes in the
file ``--widths``, as ``s3router shrink --json`` prints them, else sizes that are drawn. An utterance has 10 s.

The even shape is timed in ONNX as well: ``onnx_over_torch`` is its time in onnxruntime over that in torch, in float32, and
``int8_over_onnx`` that of its matrices in 8 bits over float32. ``vnni`` is true if this processor sums products of 8-bit
numbers in 32 bits.

``gated_max_abs`` is the largest difference between the gated and the extracted model of a toy of each family, relative to
the largest output, in float32; ``gated_max_abs_float64`` the same in float64. ``recorded`` is true if the audio is recorded
speech, which the recipe asterisk/asr1 downloads, and false if it is a synthetic sound.

``target_error`` is the worst distance between target and counted sparsity, relative to the target.
``gate_step_over_finetune`` compares an update with gates with one of finetuning that trains the frontend too.
"""

import argparse
import contextlib
import io
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

from quiet import LoadMeter
from report import run

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    import torch
    from arms import TINY, Arm, Size, write_upstream
    from exactness import EXACT, FAMILIES, HALF, gated_max_abs, move_gates, target_error, with_gates
    from export import onnx_ratios
    from torch import Tensor, nn

    from espnet_s3router.deploy.resize import take_widths
    from espnet_s3router.deploy.shrink import shrink
    from espnet_s3router.exported.quantize import sums_in_32_bits
    from espnet_s3router.plugin.deployment.route import speech_like
    from espnet_s3router.plugin.frontend import MaskedUpstream
    from espnet_s3router.plugin.upstreams.build import load_upstream
    from espnet_s3router.upstreams import family_of
    from espnet_s3router.upstreams.structure import Widths

TARGETS = {
    "target_error": "<= 0.01",
    "speedup_torch 1": ">= 1.7 (limit 2.0)",
    "speedup_torch 2": ">= 1.7 (limit 2.0)",
    "speedup_torch_trained_shape 1": ">= 1.7 (limit 2.0)",
    "speedup_torch_trained_shape 2": ">= 1.7 (limit 2.0)",
    "int8_over_onnx 1": "<= 0.77 with vnni",
    "int8_over_onnx 2": "<= 0.77 with vnni",
    "gate_step_over_finetune": "<= 1.1",
}
TARGETS |= {f"{key} {family}": target for key, (_, target) in EXACT.items() for family in FAMILIES}


def speedups(models: dict[str, nn.Module], wave: Tensor, rounds: int, meter: LoadMeter) -> dict[str, float]:
    """Time of the model ``dense`` over that of each other one, medians of rounds in which they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):  # the first round warms up
        for name, model in models.items():
            start = time.perf_counter()
            with meter.region(name), torch.inference_mode():
                model([wave])
            seconds[name] += [time.perf_counter() - start] if number else []
    return {name: median(seconds["dense"]) / median(times) for name, times in seconds.items() if name != "dense"}


def gate_step(checkpoint: Path, rounds: int, seconds: float, meter: LoadMeter) -> float:
    """Time of an update with gates over that of one without, both with the frontend trained."""
    arms = {name: Arm(name, checkpoint, batch=2, seconds=seconds, device="cpu") for name in ("finetune_cnn", "hj")}
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        for name, arm in arms.items():
            with meter.region(f"{name} step"):
                step = arm.step()
            taken[name] += [step] if number else []
    return median(taken["hj"]) / median(taken["finetune_cnn"])


def smaller_models(checkpoint: Path, widths: Path | None) -> dict[str, nn.Module]:
    """The dense upstream, one that lost the same share of every layer, and an uneven one."""
    dense: Any = load_upstream({"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)})
    if widths is None:
        uneven = shrink(with_gates(checkpoint, 1.5))
    else:
        sizes = json.loads(widths.read_text(encoding="utf-8"))["pruned"]["widths"]
        model: Any = load_upstream({"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)})
        uneven = model.upstream
        take_widths(uneven, family_of(uneven), Widths(**{name: tuple(size) for name, size in sizes.items()}))
    models = {"dense": dense.upstream, "even": shrink(with_gates(checkpoint)), "uneven": uneven}
    return {name: model.eval() for name, model in models.items()}


def in_onnx(checkpoint: Path, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Times of the even shape in ONNX, see ``onnx_ratios``."""
    source = {"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)}
    frontend = MaskedUpstream(frontend_conf=source, mask_conf=HALF).eval()
    move_gates(frontend.attached)
    shrink(frontend.attached)
    return onnx_ratios(frontend, folder, seconds=seconds_of_audio(args), rounds=args.rounds, threads=usable_threads())


def seconds_of_audio(args: argparse.Namespace) -> float:
    """Length of the utterance that is timed."""
    return 1.0 if args.tiny else 10.0


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return all figures by key."""
    from toy_audio import recorded_speech

    checkpoint, threads, recorded = folder / "upstream.pt", usable_threads(), recorded_speech()
    write_upstream(checkpoint, TINY if args.tiny else Size())
    figures: dict[str, Any] = {"target_error": target_error(checkpoint), "recorded": bool(recorded)}
    figures |= gated_max_abs(folder, recorded or [speech_like(2.0)])
    models, wave = smaller_models(checkpoint, args.widths), speech_like(seconds_of_audio(args))
    by_shape: dict[str, dict[str, float]] = {"even": {}, "uneven": {}}
    quiet = []
    for count in threads:
        torch.set_num_threads(count)
        meter = LoadMeter(count)
        for name, ratio in speedups(models, wave, args.rounds, meter).items():
            by_shape[name][str(count)] = ratio
        quiet.append(meter.quiet())
    figures |= {"speedup_torch": by_shape["even"], "speedup_torch_trained_shape": by_shape["uneven"]}
    figures |= in_onnx(checkpoint, folder, args) | {"vnni": sums_in_32_bits()}
    meter = LoadMeter(torch.get_num_threads())
    figures["gate_step_over_finetune"] = gate_step(checkpoint, args.rounds, 0.5 if args.tiny else 5.0, meter)
    return figures | {"quiet": all([figures["quiet"], *quiet, meter.quiet()])}


def usable_threads() -> list[int]:
    """One thread, and two where the machine has them."""
    return [threads for threads in (1, 2) if threads <= torch.get_num_threads()]


def main() -> None:
    """Parse the options, measure, and print."""
    run(__doc__, TARGETS, measure, {}, {"widths": "sizes of a trained run, as s3router shrink --json prints them"})


if __name__ == "__main__":
    main()
