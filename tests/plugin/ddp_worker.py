"""One process of a distributed run: ``ddp_worker.py RANK WORLD_SIZE FOLDER``; see test_distributed.py.

The folder holds job.json (options of a MaskedUpstream by job) and batches.pt; the results go to rank<RANK>.pt there.
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel


class Model(torch.nn.Module):
    """A masked upstream and a head; loss of a batch (waves, lengths)."""

    def __init__(self, conf):
        super().__init__()
        from espnet_s3router.plugin.frontend import MaskedUpstream

        self.frontend = MaskedUpstream(**conf)
        torch.manual_seed(0)
        self.head = torch.nn.Linear(self.frontend.output_size(), 3)

    def forward(self, waves, lengths):
        return self.head(self.frontend(waves, lengths)[0]).square().mean()


def train(model, batches, attached):
    """An update per batch; SGD, whose step is linear in the gradient."""
    from espnet_s3router.methods.pathways import Pathways
    from espnet_s3router.plugin.training.optimizers import install_step

    scores = [scores for masked in attached.masks.values() for scores in masked.all_scores()]
    others = [p for p in model.parameters() if p.requires_grad and not any(p is s for s in scores)]
    groups = [{"params": scores, "lr": 300.0}, {"params": others, "lr": 0.1 if scores else 1.0}]
    attached.begin()
    optimizer = torch.optim.SGD([group for group in groups if group["params"]])
    install_step(optimizer, attached)
    model.train()
    attached.begin_epoch(1)
    for number, (waves, lengths) in enumerate(batches):
        if isinstance(attached, Pathways):  # a batch of every language in turn
            attached.use(attached.options.languages[number % 2])
        optimizer.zero_grad()
        model(waves, lengths).backward()
        optimizer.step()
    attached.end_epoch()


def result(model):
    """Masks and trained parameters by name."""
    frontend = model.frontend
    return {
        "masks": frontend.attached.kept(),
        "trained": {name: p.detach() for name, p in model.named_parameters() if p.requires_grad},
        "selections": {masked.selections for masked in frontend.attached.masks.values()},
    }


def main(rank, world_size, folder):
    torch.set_num_threads(1)
    folder = Path(folder)
    jobs = json.loads((folder / "job.json").read_text())
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=world_size
    )
    batches = torch.load(folder / "batches.pt")
    results = {}
    for name, conf in jobs.items():
        model = Model(conf)
        own = [(waves[rank::world_size], lengths[rank::world_size]) for waves, lengths in batches]
        unused = conf["mask_conf"]["method"] == "pathways"  # as plugin.training.setup.leaves_unused says
        train(DistributedDataParallel(model, find_unused_parameters=unused), own, model.frontend.attached)
        results[name] = result(model)
    torch.save(results, folder / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
