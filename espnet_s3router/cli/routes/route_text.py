"""Figures of route files as lines for people."""

from typing import Any


def description(figures: dict[str, Any]) -> str:
    """The figures of ``routes.describe``."""
    facts = {name: value for name, value in figures["metadata"].items() if name != "options"}
    parts = ", ".join(f"{name} {size}" for name, size in figures["bytes_by_part"].items())
    lines = [
        f"{figures['file']}: {figures['bytes']} bytes ({parts})",
        *(f"  {name}: {value}" for name, value in facts.items()),
        f"  base: {figures['base'][:16]}…, coder: {figures['coder']}",
        f"  tokens: {figures['tokens']}, tensors: {', '.join(figures['tensor_types']) or 'none'}",
    ]
    if figures["sites"]:
        lines.append(
            f"  {len(figures['sites'])} masks on {figures['connections']} connections, {figures['sparsity']:.2%} removed: "
            f"{figures['bits_per_connection']:.4f} bits a connection, entropy {figures['entropy_per_connection']:.4f}"
        )
    if figures["candidates"]:
        share, source = figures["candidates"]["share"], figures["candidates"]["source"]
        lines.append(f"  candidates: {share:.2%} of each matrix may be removed ({source})")
    for site in figures["sites"]:
        shape = "x".join(map(str, site["shape"]))
        lines.append(f"    {site['name']:46} {shape:>10} {site['sparsity']:8.2%} {site['codec']:15} {site['bytes']:9} bytes")
    return "\n".join(lines)


def comparison(figures: dict[str, Any]) -> str:
    """The figures of ``routes.difference``, one line for each site."""
    rows = [("all", figures), *figures["sites"].items()]
    lines = [f"{'site':48} {'removed':>15} {'IoU of removed':>15} {'by chance':>10} {'cosine':>7}"]
    for name, f in rows:
        removed = f"{f['sparsity_first']:.2%} {f['sparsity_second']:.2%}"
        lines.append(f"{name:48} {removed:>15} {f['iou']:15.4f} {f['iou_chance']:10.4f} {f['cosine']:7.4f}")
    return "\n".join(lines)
