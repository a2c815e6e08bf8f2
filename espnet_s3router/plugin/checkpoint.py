"""Slim state dicts: a checkpoint holds only what a run changed, and loading checks that it belongs to this base.

A frontend saves its trained parameters, the scores of fixed masks and a fingerprint of the base weights. Frozen weights are
filled in from the live model on loading. A missing score, a wrong shape or another base is an error. ESPnet itself loads
with strict=False and would silently decode with random scores.
"""

from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods import Attached

FINGERPRINT = "base_fingerprint"
EXPERT = "upstream.upstream."
"""Prefix of the s3prl expert's tensors in the state dict of the frontend."""
FRONTEND_KEYS = "frontend."
"""Prefix of the frontend's tensors in a model file."""
UPSTREAM_KEYS = FRONTEND_KEYS + EXPERT
"""Prefix of the s3prl expert's tensors in a model file."""


def fingerprint(model: nn.Module) -> Tensor:
    """SHA-256 over the parameters of an unmasked model, as 32 floats (0 to 255).

    It does not depend on names and order, which differ between torch versions for weight-normalised tensors. The values
    are floats because ESPnet's n-best averaging sums integer tensors.
    """
    parts = sorted(
        sha256(str(tuple(p.shape)).encode() + p.detach().cpu().contiguous().numpy().tobytes()).digest()
        for p in model.parameters()
    )
    return torch.tensor(list(sha256(b"".join(parts)).digest()), dtype=torch.float32)


class SlimState:
    """Filters the state dict of a frontend. Create it before the method is attached: it fingerprints the base weights."""

    def __init__(self, frontend: nn.Module, upstream_name: str) -> None:
        self._upstream_name = upstream_name
        self._kept: set[str] = set()
        frontend.register_buffer(FINGERPRINT, fingerprint(frontend.upstream))  # type: ignore[arg-type]
        frontend.register_state_dict_post_hook(lambda *hooked: self.save(*hooked))
        frontend.register_load_state_dict_pre_hook(self.load)

    def keep(self, frontend: nn.Module, attached: Attached) -> None:
        """Save and require only the parameters of ``attached``, and those of the featurizer if they are trained."""
        self._kept = {EXPERT + name for name in (*attached.trained, *attached.saved)} | {FINGERPRINT}
        for name, parameter in frontend.featurizer.named_parameters():  # type: ignore[union-attr]
            if parameter.requires_grad:
                self._kept.add(f"featurizer.{name}")

    def save(self, module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
        """State-dict hook: removes frozen tensors."""
        kept = self._kept | adapted(module, self._kept)
        for key in [key for key in state if key.startswith(prefix) and key[len(prefix) :] not in kept]:
            del state[key]

    def load(self, module: nn.Module, state: dict[str, Tensor], prefix: str, *unused: Any) -> None:
        """Load hook: checks the given tensors, then adds the frozen ones from the live model."""
        live = dense_state(module)
        given = {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}
        missing = sorted(self._kept - set(given))
        if missing:
            raise InputError(
                f"The checkpoint lacks {len(missing)} of the {len(self._kept)} tensors that this frontend learns, for "
                f"example {prefix}{missing[0]}. It was trained with another method, other targets or another kind of "
                "frontend: use the config.yaml beside the checkpoint"
            )
        if not torch.equal(given[FINGERPRINT].cpu(), live[FINGERPRINT].cpu()):
            raise InputError(
                f"The checkpoint belongs to other base weights than those of upstream {self._upstream_name!r}: "
                f"fingerprint {short_hexadecimal(given[FINGERPRINT])}, expected {short_hexadecimal(live[FINGERPRINT])}. "
                "Set upstream and path_or_url in frontend_conf to those that it was trained on"
            )
        frozen = sorted(given.keys() - self._kept - adapted(module, self._kept))
        if frozen:  # they would be used now, but no saved file would hold them
            raise InputError(
                f"The checkpoint holds {len(frozen)} tensors that this frontend's method freezes, for example "
                f"{prefix}{frozen[0]}. It was trained with another method or other targets: use the config.yaml beside it. "
                "To start from a finetuned model, choose a method with the option start in mask_conf"
            )
        for name in self._kept:
            got, expected = tuple(given[name].shape), tuple(live[name].shape)
            if got != expected:
                raise InputError(f"The checkpoint's {prefix}{name} has shape {got}, expected {expected}")
        for name, tensor in live.items():
            state.setdefault(prefix + name, tensor)


def adapted(frontend: nn.Module, ours: set[str]) -> set[str]:
    """Parameters of modules that carry trained parameters beyond ``ours``: those with ESPnet's own adapters. They are saved
    whole, because loralib merges its update into the frozen weight in evaluation mode."""
    names: set[str] = set()
    for path, module in frontend.named_modules():
        parameters = {f"{path}.{name}" if path else name: p for name, p in module.named_parameters(recurse=False)}
        if any(parameter.requires_grad and name not in ours for name, parameter in parameters.items()):
            names |= parameters.keys()
    return names


def dense_state(frontend: nn.Module) -> dict[str, Tensor]:
    """The whole state dict of a frontend, frozen tensors included (references, no copies)."""
    state: dict[str, Tensor] = {FINGERPRINT: getattr(frontend, FINGERPRINT)}
    for child in ("upstream", "featurizer"):
        state |= getattr(frontend, child).state_dict(prefix=f"{child}.")
    return state


def short_hexadecimal(values: Tensor) -> str:
    """The first 12 digits of a fingerprint."""
    return hexadecimal(values)[:12]


def hexadecimal(values: Tensor) -> str:
    """All 64 digits of a fingerprint."""
    return bytes(int(value) % 256 for value in values.flatten()).hex()
