"""What a pack tells about its models: method, data, licences, figures. The card is made from it."""

import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.plugin.checkpoint import FINGERPRINT, hexadecimal
from espnet_s3router.routes import RouteFile, describe
from espnet_s3router.upstreams import EMBEDDED
from espnet_s3router.zoo.scrub import UPSTREAM

GIVEN = ("language", "corpus", "recipe", "training_set", "licence", "metrics", "training_command", "commit", "seed")
"""Facts of a model that its maker knows and its files may not tell."""
UNKNOWN = "unknown"
_TITLES = {"MIT License": "MIT", "Apache License": "Apache-2.0"}


def model_facts(model: Any, args: Namespace, given: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Facts of a trained experiment. ``size``: bytes of its file."""
    masks = model.frontend.attached.kept()
    connections = sum(mask.numel() for mask in masks.values())
    counted = {
        "method": model.frontend.attached.method,
        "masked_connections": connections,
        "sparsity": round(1 - sum(int(mask.sum()) for mask in masks.values()) / connections, 6) if connections else 0.0,
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": size,
        "tokens": len(args.token_list),
        "seed": args.seed,
    }
    return {name: value for name, value in given.items() if value not in (None, "")} | counted


def route_facts(file: RouteFile) -> dict[str, Any]:
    """Facts of a route: those of its metadata that belong on a card, and its figures."""
    figures = describe(file)
    metadata = figures["metadata"]
    facts = {name: metadata[name] for name in ("method", *GIVEN) if metadata.get(name) not in (None, "")}
    return facts | {
        "masked_connections": figures["connections"],
        "sparsity": round(figures["sparsity"], 6),
        "bytes": figures["bytes"],
        "tokens": figures["tokens"],
    }


def base_facts(frontend: Any, source: Mapping[str, Any], folder: Path, licence: str = "") -> dict[str, Any]:
    """Facts of the base of a pack in ``folder``; ``source`` is its inner ``frontend_conf`` there."""
    place = str(source.get("path_or_url") or "")
    inside = place if f"{place}/".startswith(f"{UPSTREAM}/") else ""
    facts = {"upstream": source["upstream"], "inside": inside, "fingerprint": hexadecimal(getattr(frontend, FINGERPRINT))}
    if place and not inside:
        facts["path_or_url"] = place
    if source.get("shrunk"):
        facts["shrunk"] = source["shrunk"]
    shipped = EMBEDDED.get(source["upstream"])
    return facts | {"licence": licence or licence_of(shipped[1] if shipped else folder / UPSTREAM)}


def licence_of(folder: Path) -> str:
    """Licence of a model folder, from the head of its README.md or the title of its LICENSE; else ``unknown``."""
    for name in ("README.md", "MODEL_CARD.md"):
        if (folder / name).is_file():
            head = re.match(r"---\n(.*?)\n---", (folder / name).read_text(encoding="utf-8"), re.DOTALL)
            found = re.search(r"^licen[cs]e: *(\S+)", head[1], re.MULTILINE) if head else None
            if found:
                return found[1]
    if (folder / "LICENSE").is_file():
        text = (folder / "LICENSE").read_text(encoding="utf-8", errors="replace")
        if spdx := re.search(r"SPDX-License-Identifier: *(.+)", text):
            return spdx[1].strip()
        titles = [line.strip() for line in text.splitlines()[:20]]
        return next((_TITLES[title] for title in titles if title in _TITLES), f"see {UPSTREAM}/LICENSE")
    return UNKNOWN
