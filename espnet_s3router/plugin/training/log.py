"""What a run tells about itself: its size (``model.json``) once, its progress (``progress.tsv``) every epoch."""

import json
import os
from pathlib import Path
from typing import Any

from torch import nn

from espnet_s3router.methods.sparsity_report import sparsity_report

HEADER = ("epoch", "max_epoch", "updates", "train_seconds")


def write_rows(path: Path, header: tuple[str, ...], epoch: int, rows: list[tuple[Any, ...]]) -> None:
    """Add the rows of an epoch (first column) to a table, whole or not at all; rows of this or a later epoch, left by a run
    that was interrupted, are replaced."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    kept = [line for line in lines if int(line.split("\t")[0]) < epoch]
    new = ["\t".join(f"{cell:.6f}" if isinstance(cell, float) else str(cell) for cell in row) for row in rows]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("\n".join(["\t".join(header), *kept, *new]) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Trained and total parameters, MACs of the upstream per second of audio, and bytes to store beside the shared base
    (masks at one bit per connection, everything else that is trained in float32)."""
    from espnet_s3router.upstreams.count import macs_per_second

    frontend = model.frontend
    attached = frontend.attached  # type: ignore[union-attr]
    ours = {id(parameter) for parameter in attached.trained.values()}  # type: ignore[union-attr]
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in ours]  # head, ESPnet's own adapters
    scores = {id(masked.scores) for masked in attached.masks.values()}  # type: ignore[union-attr]
    return {
        "params_trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "params_total": sum(p.numel() for p in model.parameters() if id(p) not in scores),
        "macs": macs_per_second(frontend.expert, frontend.family),  # type: ignore[union-attr, arg-type]
        "bytes_added": attached.bytes_added() + 4 * sum(p.numel() for p in others),  # type: ignore[union-attr, operator]
    }


def write_model_description(model: nn.Module, folder: str | Path, *, trained: bool = False) -> None:
    """Write ``model.json`` into ``folder``; once the model is ``trained``, with what ``sparsity_report`` counts in it."""
    description = describe_model(model)
    if trained:
        description["sparsity"] = sparsity_report(model, model.frontend.attached)  # type: ignore[union-attr, arg-type]
    path = Path(folder) / "model.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
