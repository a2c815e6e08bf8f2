"""Hazard 16: two processes under DistributedDataParallel learn what one process learns from the union batch."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.xdist_group("distributed")  # the two processes take minutes
WORKER = Path(__file__).with_name("ddp_worker.py")
ROUTING = {"method": "routing", "sparsity": 0.3, "targets": "all"}
JOBS = {
    "attention and feed-forward": ("hubert", {"mask_conf": ROUTING}),
    "global, weighted layers": (
        "hf_hubert",
        {"mask_conf": {**ROUTING, "ranking": "global"}, "multilayer_feature": True},
    ),
    "candidates": (
        "wavlm",
        {"mask_conf": {**ROUTING, "candidates": 0.6, "candidates_from": "random", "flip_penalty": 1e-6}},
    ),
    "recompute": ("wavlm", {"mask_conf": ROUTING, "recompute": True}),
    "parp": ("hubert", {"mask_conf": {"method": "parp", "sparsity": 0.5, "interval": 2}}),
    "languages in turn": ("hubert", {"mask_conf": {**ROUTING, "method": "pathways", "languages": ["en", "es"]}}),
    "norms too": ("espnet_hubert", {"mask_conf": {**ROUTING, "train_norms": True}}),
}


def load_worker():
    spec = importlib.util.spec_from_file_location("ddp_worker", WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def distributed(toy_upstreams, tmp_path_factory):
    """(results of rank 0, of rank 1, of one process) for every job; the two processes import ESPnet once."""
    folder = tmp_path_factory.mktemp("ddp")
    confs = {name: {"frontend_conf": toy_upstreams[family], **conf} for name, (family, conf) in JOBS.items()}
    (folder / "job.json").write_text(json.dumps(confs), encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    lengths = torch.full((4,), 6400)
    batches = [(torch.randn(4, 6400, generator=generator) * 0.1, lengths) for _ in range(3)]
    torch.save(batches, folder / "batches.pt")
    command = [sys.executable, str(WORKER)]
    loopback = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}  # no look-up of the machine's name
    processes = [
        subprocess.Popen(
            [*command, str(rank), "2", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=loopback,
        )
        for rank in range(2)
    ]
    try:
        worker = load_worker()
        single = {}
        for name, conf in confs.items():
            model = worker.Model(conf)
            model.frontend.attached.begin()
            start = worker.result(model)
            worker.train(model, batches, model.frontend.attached)
            single[name] = {**worker.result(model), "start": start["masks"]}
        for process in processes:
            output, _ = process.communicate(timeout=180)
            assert process.returncode == 0, output
    finally:
        for process in processes:  # where one fails, the other waits for it
            process.kill()
            process.communicate()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2)] + [single]


@pytest.mark.parametrize("job", JOBS)
def test_two_processes_learn_what_one_learns(job, distributed):
    first, second, single = (results[job] for results in distributed)
    moved = 0
    for name, mask in single["masks"].items():
        assert torch.equal(first["masks"][name], mask) and torch.equal(second["masks"][name], mask), name
        moved += int((mask != single["start"][name]).sum())
    assert moved > 20  # the masks have moved, so that equality says something
    for name, parameter in single["trained"].items():
        assert torch.equal(first["trained"][name], second["trained"][name]), name
        torch.testing.assert_close(first["trained"][name], parameter, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("job", [job for job in JOBS if job not in ("parp", "languages in turn")])
def test_each_process_selects_once_per_update(job, distributed):
    first, second, _ = (results[job] for results in distributed)
    assert first["selections"] == second["selections"] == {4}
