"""What a run writes about itself: its size (``model.json``) and tables with rows for every epoch (``progress.tsv``)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espnet_s3router.files import write_atomic
from espnet_s3router.methods.base import Attached, bitmap_bytes
from espnet_s3router.plugin.checkpoint import FINGERPRINT, short_hexadecimal
from espnet_s3router.plugin.masked_hugging_face import attachments
from espnet_s3router.upstreams.count import macs_per_second

PROGRESS_HEADER = ("epoch", "max_epoch", "updates", "train_seconds")


def write_rows(path: Path, header: Sequence[str], epoch: int, rows: Sequence[Sequence[Any]]) -> None:
    """Add the rows of an epoch (first column) to a table. They replace rows of this or a later epoch, which an interrupted
    run may have left."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    kept = [line for line in lines if int(line.split("\t")[0]) < epoch]
    new = ["\t".join(f"{cell:.6f}" if isinstance(cell, float) else str(cell) for cell in row) for row in rows]
    write_atomic(path, "\n".join(["\t".join(header), *kept, *new]) + "\n")


def describe_model(model: Any) -> dict[str, Any]:
    """Trained and total parameters, MACs of the upstream per second of audio, the bytes to store beside the shared base, and
    the fingerprint of that base. A connection of a mask takes one bit, every other trained parameter four bytes. Units that
    a method removes do not count in the MACs, nor those that gates close in the total."""
    frontend = model.frontend
    attached = frontend.attached
    handles = attachments(model)
    ours = {id(parameter) for one in handles for parameter in one.trained.values()}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in ours]  # the head, ESPnet's own adapters
    widths = attached.widths()
    removed = 0 if widths is None else attached.removed()
    weights = _count_weights(model, {one for handle in handles for one in not_weights(handle)})
    return {
        "params_trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "params_total": weights - removed,
        "macs": macs_per_second(frontend.expert, frontend.family, widths=widths),
        "bytes_added": sum(one.bytes_added() for one in handles) + 4 * sum(p.numel() for p in others),
        "base": short_hexadecimal(getattr(frontend, FINGERPRINT)),
    }


def write_model_description(model: Any, folder: str | Path, *, trained: bool = False) -> None:
    """Write ``model.json`` into ``folder``; for a ``trained`` model with its ``sparsity_report``."""
    description = describe_model(model)
    if trained:
        description["sparsity"] = sparsity_report(model, model.frontend.attached)
    write_atomic(Path(folder) / "model.json", json.dumps(description, indent=1) + "\n")


def sparsity_report(model: nn.Module, attached: Attached) -> dict[str, Any]:
    """Zeros in the masked or pruned tensors of ``attached``, as the forward pass of ``model`` uses them.

    Returns:
        entries, zeros: counts over the masked or pruned tensors.
        masked, upstream, model: these zeros as a share of those tensors, of the weights of the upstream, and of all weights
            of the model. Scores and gates are not weights. The last two also count weights of removed units.
        effective_bytes: size of the whole model, with a bitmap and the nonzero weights in fp32 for each of those tensors,
            and fp32 for all others, without removed units.
    """
    scores = not_weights(attached)
    removed = 0 if attached.widths() is None else attached.removed()
    sizes = [_count_weights(part, scores) for part in (attached.upstream, model)]
    tensors = [_effective(attached.upstream, name) for name in attached.kept()]
    entries = sum(tensor.numel() for tensor in tensors)
    zeros = entries - sum(int(torch.count_nonzero(tensor)) for tensor in tensors)
    masked = zeros / entries if entries else 0.0
    upstream, whole = ((zeros + removed) / size if size else 0.0 for size in sizes)
    return {
        "entries": entries,
        "zeros": zeros,
        "masked": masked,
        "upstream": upstream,
        "model": whole,
        "effective_bytes": sum(bitmap_bytes(tensor.numel()) for tensor in tensors) + 4 * (sizes[1] - zeros - removed),
    }


def not_weights(attached: Attached) -> set[int]:
    """Identities (``id``) of parameters of the upstream that are no weights: scores of masks, and gates."""
    return attached.scores | {id(p) for group in attached.optimizer_groups() for p in group["params"]}


def _count_weights(module: nn.Module, scores: set[int]) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if id(parameter) not in scores)


def _effective(upstream: nn.Module, name: str) -> torch.Tensor:
    """The tensor at ``name`` as the forward pass uses it."""
    owner, _, tensor = name.rpartition(".")
    with torch.no_grad():
        return getattr(upstream.get_submodule(owner), tensor)
