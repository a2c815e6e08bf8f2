"""A trained run on the upstream that a later run left: what is left of one task after another one was learned.

The head and the masks are those of the first run. The weights below its masks are those of the later run, without the masks
of that run. Masks leave these weights as they are; finetuning changes them.
"""

import io
import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.files import write_atomic
from espnet_s3router.masks.names import shared_name
from espnet_s3router.plugin.checkpoint import FINGERPRINT, UPSTREAM_KEYS
from espnet_s3router.plugin.deployment.bake import load_experiment

CHANGES = "changes.json"
"""``weights`` and ``bytes`` of the shared weights: those that the later run changed, and all of them (``of_…``)."""


class Trained(NamedTuple):
    """The files of a trained run."""

    config: Path
    model: Path
    task: str
    """asr or slu: the task of ESPnet"""


def write_on_later_upstream(first: Trained, later: Trained, out: str | Path) -> dict[str, int]:
    """Write ``out``/config.yaml and a model file of the same name as that of ``first``. Returns what ``CHANGES`` beside them
    holds.

    Raises InputError for other files, for two upstreams, and if the later run changed weights that files of the first run do
    not hold, such as those below its masks.
    """
    model, _ = load_experiment(*first)
    other, _ = load_experiment(*later)
    if not torch.equal(getattr(model.frontend, FINGERPRINT), getattr(other.frontend, FINGERPRINT)):
        raise InputError(f"{first.model} and {later.model} were trained on different upstreams, expected one")
    changes = take_weights(model.frontend.expert, other.frontend.expert, first.model, later.model)
    state = model.state_dict()
    lost = [key for key in changes if UPSTREAM_KEYS + key not in state]
    if lost:
        raise InputError(
            f"{later.model} changed {len(lost)} tensors that {first.model} shares and does not hold, for example {lost[0]}. "
            "Expected a first run that trains the weights, or a later run that leaves them as they are"
        )
    weights = shared_weights(model.frontend.expert).values()
    found = {"weights": sum(changes.values()), "of_weights": sum(tensor.numel() for tensor in weights)}
    found |= {"bytes": 4 * found["weights"], "of_bytes": 4 * found["of_weights"]}
    content = io.BytesIO()
    torch.save(state, content)
    out = Path(out)
    write_atomic(out / "config.yaml", first.config.read_bytes())
    write_atomic(out / first.model.name, content.getvalue())
    write_atomic(out / CHANGES, json.dumps(found) + "\n")
    return found


@torch.no_grad()
def take_weights(expert: nn.Module, later: nn.Module, first_file: Path, later_file: Path) -> dict[str, int]:
    """Copy the shared weights of ``later`` into ``expert``, in place. Returns the number of changed weights of each tensor
    that differed, by its key in the state dict. Raises InputError if ``later`` lacks a tensor."""
    theirs, changed = shared_weights(later), {}
    for key, tensor in expert.state_dict().items():
        name = shared_name(key)
        if name is None:
            continue
        if name not in theirs or theirs[name].shape != tensor.shape:
            raise InputError(
                f"{first_file} has weights that {later_file} lacks, for example {name}: its method adds modules"
            )
        if different := int((tensor != theirs[name]).sum()):
            changed[key] = different
            tensor.copy_(theirs[name])
    return changed


def shared_weights(expert: nn.Module) -> dict[str, Tensor]:
    """The tensors of an upstream without masks, by their path in a plain upstream (references, no copies)."""
    named = ((shared_name(key), tensor) for key, tensor in expert.state_dict().items())
    return {name: tensor for name, tensor in named if name is not None}
