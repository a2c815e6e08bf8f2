"""Time of a model in ONNX against torch: 10 s of audio at the dimensions of wav2vec2 base, with one and with two threads.

onnx_over_torch: seconds of onnxruntime in float32 divided by those of torch, by the number of threads.
int8_over_onnx: seconds of the int8 model divided by those of the float32 model in onnxruntime, by the number of threads.
vnni: true if this processor sums products of 8-bit numbers in 32 bits; without it, the matrices have 7 bits.
Weights are random, and so is the audio: the time does not depend on them.
"""

import argparse
import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from quiet import LoadMeter, seconds_of
from report import run

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    import torch
    from arms import TINY, Size, write_upstream
    from espnet2.asr.ctc import CTC

    from espnet_s3router.exported import graph
    from espnet_s3router.exported.quantize import quantize, sums_in_32_bits
    from espnet_s3router.exported.session import Session
    from espnet_s3router.plugin.frontend import MaskedUpstream
    from espnet_s3router.plugin.onnx_export.model import WaveformCTC
    from espnet_s3router.plugin.onnx_export.write import description_of, graph_of

TOKENS, SECONDS, THREADS = 32, 10, (1, 2)
TARGETS = {f"int8_over_onnx {count}": "<= 0.77 with vnni" for count in THREADS}


def onnx_ratios(
    frontend: MaskedUpstream, folder: Path, *, seconds: float, rounds: int, threads: Sequence[int]
) -> dict[str, Any]:
    """``onnx_over_torch``, ``int8_over_onnx`` and ``quiet`` of an upstream with a CTC head, which is taken apart."""
    fp32, int8 = folder / "model.onnx", folder / "model.int8.onnx"
    ctc = CTC(TOKENS, frontend.output_size()).eval()
    wave = 0.1 * torch.randn(int(seconds * 16000), generator=torch.Generator().manual_seed(0))
    meters = {count: LoadMeter(count) for count in threads}
    torch_s = {}
    for count in threads:
        torch.set_num_threads(count)
        with torch.no_grad():
            torch_s[count] = seconds_of(
                lambda: ctc.log_softmax(frontend(wave[None], torch.tensor([len(wave)]))[0]), rounds, meters[count]
            )
    whole = WaveformCTC(SimpleNamespace(frontend=frontend, ctc=ctc, blank_id=0), "benchmark")
    description = description_of(whole, frontend)
    graph.save(graph_of(whole, "benchmark"), fp32)
    quantize(fp32, int8)
    onnx_s, int8_s = (
        {count: onnx_seconds(path, description, wave.numpy(), count, rounds, meters[count]) for count in threads}
        for path in (fp32, int8)
    )
    return {
        "onnx_over_torch": {str(count): onnx_s[count] / torch_s[count] for count in threads},
        "int8_over_onnx": {str(count): int8_s[count] / onnx_s[count] for count in threads},
        "quiet": all(meter.quiet() for meter in meters.values()),
    }


def onnx_seconds(path: Path, description: Any, wave: Any, threads: int, rounds: int, meter: LoadMeter) -> float:
    """Median seconds of a model in ONNX."""
    session = Session(path, description, threads=threads)
    return seconds_of(lambda: session.log_probs(wave), rounds, meter)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return all figures by key."""
    checkpoint = folder / "base.pt"
    write_upstream(checkpoint, TINY if args.tiny else Size())
    source = {"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)}
    frontend = MaskedUpstream(frontend_conf=source, mask_conf={"method": "head_only"}).eval()
    return onnx_ratios(frontend, folder, seconds=SECONDS, rounds=args.rounds, threads=THREADS) | {"vnni": sums_in_32_bits()}


if __name__ == "__main__":
    run(__doc__, TARGETS, measure, {})
