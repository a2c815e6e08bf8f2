"""Speed, exactness and cost of structured pruning (method hj), at the dimensions of wav2vec2 base.

    python benchmarks/shrink.py --json [--rounds 5] [--widths shrunk.json]

The model has random weights, and half of its MACs are removed. ``speedup_torch`` is that of an even shape, which keeps the
same share of every layer, on one and on two threads. ``speedup_torch_trained_shape`` is that of an uneven one: sizes in the
file ``--widths``, as ``s3router shrink --json`` prints them, else sizes that are drawn. An utterance has 10 s.

``gated_max_abs`` is the largest difference between the gated and the extracted model of a toy of each family, relative to
the largest output, in float32. ``target_error`` is the worst distance between target and counted sparsity, relative to the
target. ``gate_step_over_finetune`` compares an update with gates with one of finetuning that trains the frontend too.
"""

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from quiet import LoadMeter
from report import run

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    import torch
    from arms import TINY, Arm, Size, write_upstream
    from torch import Tensor, nn

    from espnet_s3router.deploy.resize import take_widths
    from espnet_s3router.deploy.shrink import shrink
    from espnet_s3router.methods import attach
    from espnet_s3router.plugin.deployment.route import speech_like
    from espnet_s3router.plugin.upstreams.build import load_upstream
    from espnet_s3router.upstreams import family_of
    from espnet_s3router.upstreams.count import macs
    from espnet_s3router.upstreams.structure import Widths, structure_of

TOYS = Path(__file__).resolve().parents[1] / "tests"
SPARSITIES = (0.3, 0.5, 0.7)
HALF = {"method": "hj", "sparsity": 0.5, "updates": 1}
TARGETS = {
    "target_error": "<= 0.01",
    "speedup_torch 1": ">= 1.7 (limit 2.0)",
    "speedup_torch 2": ">= 1.7 (limit 2.0)",
    "speedup_torch_trained_shape 1": ">= 1.7 (limit 2.0)",
    "speedup_torch_trained_shape 2": ">= 1.7 (limit 2.0)",
    "gate_step_over_finetune": "<= 1.1",
}


def with_gates(checkpoint: Path, spread: float = 0.0, **options: Any) -> Any:
    """Handle of method hj on the upstream. ``spread`` is the standard deviation of what gates of one group share."""
    upstream: Any = load_upstream({"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)})
    attached: Any = attach(upstream.upstream, HALF | options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for gate in attached.gates.groups.values():
            gate.log_alpha.add_(spread * torch.randn(1, generator=generator))
            gate.log_alpha.add_(0.5 * torch.randn(gate.log_alpha.shape, generator=generator))
    return attached


def target_error(checkpoint: Path) -> float:
    """The worst distance between target and counted sparsity of extracted models, relative to the target."""
    errors = []
    for target in SPARSITIES:
        attached = with_gates(checkpoint, 1.0, sparsity=target)
        dense = sum(macs(attached.structure, 10.0).values())
        smaller = shrink(attached)
        left = sum(macs(structure_of(smaller, family_of(smaller)), 10.0).values())
        errors.append(abs(1 - left / dense - target) / target)
    return max(errors)


def gated_max_abs(folder: Path) -> dict[str, float]:
    """For a toy of each family: the largest difference of outputs, relative to the largest output."""
    sys.path.insert(0, str(TOYS))
    from toys import TOYS as WRITERS

    found = {}
    wave = speech_like(2.0)
    for name, family in (("wav2vec2", "fairseq"), ("hf_wav2vec2", "huggingface"), ("espnet_hubert", "torchaudio"),
                         ("hf_whisper", "whisper")):  # fmt: skip
        (place := folder / name).mkdir()
        upstream: Any = load_upstream(WRITERS[name](place))
        attached: Any = attach(upstream.upstream, HALF)
        with torch.no_grad():
            for gate in attached.gates.groups.values():
                gate.log_alpha.copy_(torch.randn(gate.log_alpha.shape, generator=torch.Generator().manual_seed(1)))
            before = [state.clone() for state in upstream.upstream([wave])["hidden_states"]]
            after = shrink(attached)([wave])["hidden_states"]
        found[family] = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(before, after))
    return found


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


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return all figures by key."""
    checkpoint = folder / "upstream.pt"
    write_upstream(checkpoint, TINY if args.tiny else Size())
    figures: dict[str, Any] = {"target_error": target_error(checkpoint), "gated_max_abs": gated_max_abs(folder)}
    models, wave = smaller_models(checkpoint, args.widths), speech_like(1.0 if args.tiny else 10.0)
    by_shape: dict[str, dict[str, float]] = {"even": {}, "uneven": {}}
    quiet = []
    for threads in usable_threads():
        torch.set_num_threads(threads)
        meter = LoadMeter(threads)
        for name, ratio in speedups(models, wave, args.rounds, meter).items():
            by_shape[name][str(threads)] = ratio
        quiet.append(meter.quiet())
    figures |= {"speedup_torch": by_shape["even"], "speedup_torch_trained_shape": by_shape["uneven"]}
    meter = LoadMeter(torch.get_num_threads())
    figures["gate_step_over_finetune"] = gate_step(checkpoint, args.rounds, 0.5 if args.tiny else 5.0, meter)
    return figures | {"quiet": all([*quiet, meter.quiet()])}


def usable_threads() -> Iterable[int]:
    """One thread, and two where the machine has them."""
    return [threads for threads in (1, 2) if threads <= torch.get_num_threads()]


if __name__ == "__main__":
    run(__doc__, TARGETS, measure, {}, {"widths": "sizes of a trained run, as s3router shrink --json prints them"})
