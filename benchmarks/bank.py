"""Figures of a bank of routes on one base, for ``routes.py``: time of a switch, memory, and the base after many switches."""

import argparse
import contextlib
import gc
import io
import multiprocessing
import time
from pathlib import Path
from statistics import median
from typing import Any

from quiet import LoadMeter

with contextlib.redirect_stdout(io.StringIO()):  # ESPnet's imports print; --json promises one line
    import torch
    from arms import TINY, XLS_R, Size, write_upstream

    from espnet_s3router.masks import topk_mask
    from espnet_s3router.methods.options import sites_of
    from espnet_s3router.plugin.checkpoint import FINGERPRINT, hexadecimal
    from espnet_s3router.plugin.frontend import MaskedUpstream
    from espnet_s3router.routes import Route, write_route
    from espnet_s3router.serving.bank import Bank

TOKENS = 32
SWITCHES, ROUTES = 10_000, 100
TARGETS = {
    "switch_over_copy": "<= 2",
    "restore_identical": "True",
    "growth_mb": "about 0",
    "hundred_routes_over_sum": "<= 1.05",
}


def resident_mb() -> float:
    """MiB of memory that this process holds now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def source_of(checkpoint: Path) -> dict[str, str]:
    """The upstream that ``arms.write_upstream`` has written."""
    return {"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)}


def write_routes(folder: Path, source: dict[str, str], sparsity: float, count: int) -> list[Path]:
    """Route files with random masks on the feed-forward matrices of the upstream ``source``, and a linear CTC head."""
    frontend = MaskedUpstream(frontend_conf=source, mask_conf={"method": "head_only"})
    sites = {site.name: getattr(site.module, site.tensor).shape for site in sites_of(frontend.expert, "feed_forward")}
    width = frontend.output_size()
    mask_conf = {"method": "routing", "sparsity": sparsity}
    config = {
        "frontend_conf": {"frontend_conf": source, "mask_conf": mask_conf},
        **{
            "encoder": None,
            "decoder": "rnn",
            "decoder_conf": {},
            "normalize": None,
            "preencoder": None,
            "postencoder": None,
        },
        **{"model": "espnet", "model_conf": {"ctc_weight": 1.0}, "ctc_conf": {}, "token_type": "char"},
    }
    paths = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        masks = {name: topk_mask(torch.rand(shape, generator=generator), sparsity) for name, shape in sites.items()}
        head = {"head/ctc.ctc_lo.weight": torch.randn(TOKENS, width), "head/ctc.ctc_lo.bias": torch.zeros(TOKENS)}
        route = Route(
            base=hexadecimal(getattr(frontend, FINGERPRINT)),
            masks=masks,
            tensors=head,
            tokens=["<blank>", *(f"t{n}" for n in range(TOKENS - 2)), "<sos/eos>"],
            config=config,
            metadata={"task": "asr", "method": "routing"},
        )
        paths.append(folder / f"{seed}.route")
        write_route(paths[-1], route)
    return paths


def now(bank: Bank) -> float:
    """The time in seconds, after all work of the device is done."""
    if next(bank.frontend.parameters()).is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def switch_over_copy(bank: Bank, rounds: int, meter: LoadMeter) -> float:
    """Median seconds of a switch between two ready routes, divided by those of copying the masked weights once."""
    bank.restore()
    first, second = bank.names[:2]
    parameters = dict(bank.frontend.expert.named_parameters())
    masked = [parameters[name].detach() for name in bank.changes(first).removed]
    copies = [torch.empty_like(weight) for weight in masked]
    switches, times = [], []
    with meter.region("switching"):
        for _ in range(rounds + 1):
            for name in (first, second):
                start = now(bank)
                bank.use(name)
                switches.append(now(bank) - start)
            start = now(bank)
            for weight, copy in zip(masked, copies):
                copy.copy_(weight)
            times.append(now(bank) - start)
    return median(switches[2:]) / median(times[1:])


def after_many_switches(bank: Bank) -> tuple[bool, float]:
    """(True if the base came back bit for bit, MiB of memory that were added)."""
    bank.restore()
    before = [parameter.detach().clone() for parameter in bank.frontend.expert.parameters()]
    names = bank.names
    for name in names:
        bank.use(name)
    start = resident_mb()
    for number in range(SWITCHES):
        bank.use(names[number % len(names)])
    growth = resident_mb() - start
    bank.restore()
    after = bank.frontend.expert.parameters()
    return all(torch.equal(a.view(torch.int32), b.detach().view(torch.int32)) for a, b in zip(before, after)), growth


def memory(paths: list[Path], answer: Any) -> None:
    """Send (MiB of a process with one route, MiB with a hundred)."""
    bank = Bank(ready_mb=0)
    bank.add(paths[0], "0")
    bank.add(paths[1], "1")
    bank.drop("1")
    one = resident_mb()
    for number in range(1, ROUTES):
        bank.add(paths[number % 2], str(number))
    answer.send((one, resident_mb()))


def measure_bank(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures by key."""
    toy, checkpoint = folder / "toy.pt", folder / "base.pt"
    write_upstream(toy, TINY)
    write_upstream(checkpoint, TINY if args.tiny else XLS_R if args.xls_r else Size())
    small = folder / "toy"
    small.mkdir()
    write_routes(small, source_of(toy), 0.08, 3)
    identical, growth = after_many_switches(Bank.from_dir(small))
    paths = write_routes(folder, source_of(checkpoint), 0.08, 2)
    context = multiprocessing.get_context("spawn")  # a forked process would have our memory
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=memory, args=(paths, there))
    process.start()
    base_mb, hundred_mb = here.recv()
    process.join()
    meter = LoadMeter(torch.get_num_threads())
    bank = Bank(device=args.device)
    for path in paths:
        bank.add(path)
    ratio = switch_over_copy(bank, args.rounds, meter)
    route_mb = paths[0].stat().st_size / 2**20
    return {
        "switch_over_copy": ratio,
        "restore_identical": identical,
        "growth_mb": growth,
        "base_mb": base_mb,
        "route_mb": route_mb,
        "hundred_routes_mb": hundred_mb,
        "hundred_routes_over_sum": hundred_mb / (base_mb + (ROUTES - 1) * route_mb),
        "switching_quiet": meter.quiet(),
    }
