"""Toy upstreams with a method, and toy runs of the pruning methods: a few epochs of four updates."""

import torch
from toys import toy_expert

from espnet_s3router.methods import attach

WAVE = torch.randn(2, 320 * 7, generator=torch.Generator().manual_seed(9))
ADAM = (torch.optim.Adam, {"lr": 0.02})
ONCE = {
    "mpi": {"method": "mpi", "sparsity": 0.4},
    "rp": {"method": "rp", "sparsity": 0.4},
    "omp": {"method": "omp", "sparsity": 0.4, "start": "x"},
    "omp, no rewinding": {"method": "omp", "sparsity": 0.4, "start": "x", "rewind": False},
}
GRADUAL = {
    "mpi, linear": {"method": "mpi", "sparsity": 0.6, "schedule": "linear", "updates": 14, "interval": 2},
    "rp, cubic": {"method": "rp", "sparsity": 0.6, "schedule": "cubic", "updates": 14, "ramp_until": 11, "interval": 3},
    "imp": {"method": "imp", "sparsity": 0.6, "rounds": 3, "updates": 14, "start": "x"},
    "imp, no rewinding": {"method": "imp", "sparsity": 0.6, "rounds": 3, "updates": 14, "start": "x", "rewind": False},
}
PARP = {
    "parp": {"method": "parp", "sparsity": 0.4, "interval": 3},
    "parp, remask": {"method": "parp", "sparsity": 0.4, "interval": 3, "form": "remask"},
    "parp, epochs": {"method": "parp", "sparsity": 0.4, "interval_epochs": 2},
    "parp, remask, epochs": {"method": "parp", "sparsity": 0.4, "interval_epochs": 2, "form": "remask"},
    "parp_p": {"method": "parp_p", "sparsity": 0.6, "updates": 14, "interval": 3, "initial_sparsity": 0.2},
    "parp_p, remask": {"method": "parp_p", "sparsity": 0.6, "updates": 14, "ramp_until": 11, "form": "remask"},
    "parp_p, start": {"method": "parp_p", "sparsity": 0.6, "updates": 14, "interval_epochs": 2, "start": "x"},
}
ROUTED = {
    "routing_prune, cubic": {
        "method": "routing_prune",
        "sparsity": 0.6,
        "schedule": "cubic",
        "updates": 14,
        "interval": 2,
        "start": "x",
    }
}
ALL = ONCE | GRADUAL | PARP | ROUTED


def attached_toy(**mask_conf):
    """(toy upstream, handle of its method), before training."""
    expert = toy_expert()
    return expert, attach(expert, mask_conf)


def loss_of(expert, update):
    """A loss that differs from update to update."""
    out = expert(WAVE)
    return (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(update))).sum()


class Run:
    """A toy run with epochs of four updates. The loss differs from update to update."""

    def __init__(self, conf, optimizer=ADAM, ranked=None, clip=None):
        self.clip = clip
        self.expert = toy_expert()
        self.attached = attach(self.expert, conf)
        self.pretrained = {name: p.detach().clone() for name, p in self.attached.startable.items()}
        generator = torch.Generator().manual_seed(3)
        self.start = {
            name: p.detach() + 0.05 * torch.randn(p.shape, generator=generator)
            for name, p in self.attached.startable.items()
        }
        self.attached.begin(self.start if conf.get("start") else None, ranked)
        kind, options = optimizer
        self.optimizer = kind(self.attached.trained.values(), **options)

    def update(self):
        """As ESPnet's trainer, which clips between backward and step; returns the norm before clipping, if it clips."""
        attached = self.attached
        self.optimizer.zero_grad()
        loss_of(self.expert, attached.update).backward()
        norm = None
        if self.clip is not None:
            norm = float(torch.nn.utils.clip_grad_norm_(self.expert.parameters(), self.clip))
        self.optimizer.step()
        attached.update += 1
        attached.step(attached.update, self.optimizer)
        return norm

    def epoch(self, number, updates=4):
        self.attached.begin_epoch(number)
        for _ in range(updates):
            self.update()
        self.attached.end_epoch()

    def weights(self):
        return {name: p.detach().clone() for name, p in self.expert.named_parameters()}

    def zeros(self):
        return sum(int((~mask).sum()) for mask in self.attached.kept().values())

    def numel(self):
        return sum(mask.numel() for mask in self.attached.kept().values())
