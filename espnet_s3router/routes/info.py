"""What route files hold, in numbers: sites, sparsity, bytes by part and bits a connection. A row for each file of a bank."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.routes.codec import own_entropy_bytes
from espnet_s3router.routes.file import RouteFile, open_route
from espnet_s3router.routes.gather import routes_in
from espnet_s3router.routes.route import PARTS


def describe(file: RouteFile) -> dict[str, Any]:
    """Figures of a file, ready for JSON. Sizes are in bytes; a connection is a weight that carries a mask."""
    sites = [
        {
            "name": name,
            "shape": list(mask.shape),
            "codec": mask.codec,
            "zeros": mask.zeros,
            "sparsity": mask.zeros / max(mask.numel, 1),
            "bytes": len(mask.data),
            "entropy_bytes": own_entropy_bytes(mask, file.candidates),
        }
        for name, mask in file.coded.items()
    ]
    connections = sum(mask.numel for mask in file.coded.values())
    zeros = sum(mask.zeros for mask in file.coded.values())
    parts = {"masks": sum(site["bytes"] for site in sites)}  # type: ignore[misc]
    for part in PARTS:
        tensors = [tensor for name, tensor in file.tensors.items() if name.startswith(f"{part}/")]
        parts[part] = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    parts["header"] = file.bytes - sum(parts.values())
    return {
        "file": str(file.path),
        "bytes": file.bytes,
        "bytes_by_part": parts,
        "base": file.header["base"],
        "candidates": None if file.candidates is None else asdict(file.candidates),
        "coder": f"{file.header['coder']} {file.header['coder_version']}",
        "connections": connections,
        "zeros": zeros,
        "sparsity": zeros / max(connections, 1),
        "bits_per_connection": 8 * parts["masks"] / max(connections, 1),
        "entropy_per_connection": 8 * sum(site["entropy_bytes"] for site in sites) / max(connections, 1),  # type: ignore[misc]
        "tensor_types": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in file.tensors.values()}),
        "tokens": len(file.header["tokens"]),
        "metadata": file.header["metadata"],
        "sites": sites,
    }


def inventory(folder: str | Path) -> list[dict[str, Any]]:
    """A row for each route file of a folder, by name. The base is not loaded.

    ``problem`` of a row says why a bank cannot serve the file; it is None for the others. Raises InputError if the folder
    holds no route file.
    """
    rows: list[dict[str, Any]] = []
    base = None
    for path in routes_in(folder):
        try:
            figures = describe(open_route(path))
        except InputError as error:
            rows.append({"name": path.stem, "problem": str(error)})
            continue
        base = base or figures["base"]
        facts = {key: figures["metadata"].get(key) for key in ("language", "task", "method", "licence")}
        row = {"name": path.stem, **facts, **{key: figures[key] for key in ("sparsity", "bytes", "base")}}
        other = f"{path}: belongs to base {figures['base'][:16]}, the routes before it to {base[:16]}"
        rows.append(row | {"problem": None if figures["base"] == base else other})
    return rows
