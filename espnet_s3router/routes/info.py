"""What a route file holds, in numbers: sites, sparsity, bytes by part and bits a connection."""

from dataclasses import asdict
from typing import Any

from espnet_s3router.routes.codec import own_entropy_bytes
from espnet_s3router.routes.file import RouteFile
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
