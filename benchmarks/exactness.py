"""How exactly smaller models are extracted: gates at random, their targets by count, and outputs on every family of toys."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.deploy.shrink import shrink
from espnet_s3router.methods import attach
from espnet_s3router.plugin.upstreams.build import load_upstream
from espnet_s3router.upstreams import family_of
from espnet_s3router.upstreams.count import macs
from espnet_s3router.upstreams.structure import structure_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # toys of each family
SPARSITIES = (0.3, 0.5, 0.7)
HALF = {"method": "hj", "sparsity": 0.5, "updates": 1}
"""Options that remove half of the MACs."""
EXACT = {"gated_max_abs": (torch.float32, "<= 1e-5"), "gated_max_abs_float64": (torch.float64, "<= 1e-9")}
"""Figure -> its precision and its target."""
FAMILIES = {"fairseq": "wav2vec2", "huggingface": "hf_wav2vec2", "torchaudio": "espnet_hubert", "whisper": "hf_whisper"}
"""Style of a family -> its toy."""


def with_gates(checkpoint: Path, spread: float = 0.0, **options: Any) -> Any:
    """Handle of method hj on the upstream. ``spread`` is the standard deviation of what gates of one group share."""
    upstream: Any = load_upstream({"upstream": "wav2vec2_custom", "path_or_url": str(checkpoint)})
    attached: Any = attach(upstream.upstream, HALF | options)
    move_gates(attached, spread)
    return attached


@torch.no_grad()
def move_gates(attached: Any, spread: float = 0.0) -> None:
    """Move the gates of a fresh handle at random, see ``with_gates``."""
    generator = torch.Generator().manual_seed(0)
    for gate in attached.gates.groups.values():
        gate.log_alpha.add_(spread * torch.randn(1, generator=generator))
        gate.log_alpha.add_(0.5 * torch.randn(gate.log_alpha.shape, generator=generator))


def target_error(checkpoint: Path) -> float:
    """The worst distance between target and counted sparsity of extracted models, relative to the target."""
    errors = []
    for target in SPARSITIES:
        attached = with_gates(checkpoint, 1.0, sparsity=target)
        dense = sum(macs(attached.structure, 10.0).values())
        smaller = shrink(attached)
        left = sum(macs(structure_of(smaller, family_of(smaller)), 10.0).values())
        errors.append(abs(1 - left / dense - target) / target)
    return max(errors)


def gated_max_abs(folder: Path, waves: Sequence[Tensor]) -> dict[str, dict[str, float]]:
    """In float32 and in float64, for a toy of each family: the largest difference of outputs, relative to the largest."""
    from structures import in_kind
    from toys import TOYS

    found: dict[str, dict[str, float]] = {key: {} for key in EXACT}
    for family, name in FAMILIES.items():
        (place := folder / name).mkdir()
        source = TOYS[name](place)
        for key, (kind, _) in EXACT.items():
            upstream: Any = load_upstream(source)
            attached: Any = attach(upstream.upstream, HALF)
            with torch.no_grad():
                for gate in attached.gates.groups.values():
                    gate.log_alpha.copy_(torch.randn(gate.log_alpha.shape, generator=torch.Generator().manual_seed(1)))
                before = [state.clone() for state in in_kind(upstream.upstream, kind)(waves)["hidden_states"]]
                after = shrink(attached)(waves)["hidden_states"]
            found[key][family] = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(before, after))
    return found
