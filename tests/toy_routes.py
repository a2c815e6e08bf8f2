"""Routes for tests: masks of every code on small random weights, a head, and what belongs to them."""

import torch

from espnet_s3router.masks import nm_mask, topk_mask, unit_mask
from espnet_s3router.routes import Route
from espnet_s3router.routes.container import pack, unpack

ROWS, COLUMNS = 48, 64
TOKENS = ["<blank>", "<unk>", "a", "ä", "字", "<sos/eos>"]


def weights(seed=0):
    """Base tensors by path."""
    generator = torch.Generator().manual_seed(seed)
    return {f"layers.{n}.weight": torch.randn(ROWS, COLUMNS, generator=generator) for n in range(6)}


def masks():
    """One mask for every codec on the tensors of ``weights``."""
    generator = torch.Generator().manual_seed(1)
    scores = [torch.rand(ROWS, COLUMNS, generator=generator) for _ in range(6)]
    base = weights()
    full, dense = torch.ones(ROWS, COLUMNS, dtype=torch.bool), topk_mask(scores[1], 0.5)
    kinds = [full, dense, unit_mask(scores[2], 0.25, 1), topk_mask(scores[3], 0.05), nm_mask(scores[4], 1, 4)]
    return dict(zip(base, [*kinds, topk_mask(base["layers.5.weight"], 0.3)]))


def head(seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(len(TOKENS), 16, generator=generator)
    return {"head/ctc.ctc_lo.weight": weight, "head/ctc.ctc_lo.bias": torch.zeros(len(TOKENS))}


def route(**changes):
    """A route on the base of ``weights``."""
    fields = {
        "base": "0123456789abcdef" * 4,
        "masks": masks(),
        "tensors": head() | {"upstream/norm.weight": torch.full((16,), 0.5, dtype=torch.float16)},
        "tokens": TOKENS,
        "config": {"encoder": None, "frontend_conf": {"fs": 16000, "mask_conf": {"method": "routing", "sparsity": 0.08}}},
        "metadata": {"language": "mdw", "method": "routing", "metrics": {"test_cer": 31.2}, "seed": 0},
    }
    return Route(**fields | changes)


def edit(path, change):
    """Rewrite a file with another header or other tensors, and with a right checksum."""
    header, tensors, _ = unpack(path)
    header.pop("checksum")
    change(header, tensors)
    path.write_bytes(pack(header, tensors))
