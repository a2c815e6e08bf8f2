"""Slim state dicts: only what a run changed is saved, and what is loaded must belong to this base.

A checkpoint of the frontend holds the trained parameters, the scores of fixed masks and a fingerprint of the base weights.
Frozen weights are refilled from the live model on loading. A missing score, a wrong shape or another base is an error that
names it; ESPnet itself loads with strict=False and would decode with random scores without a word.
"""

from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.methods import Attached

FINGERPRINT = "base_fingerprint"


def fingerprint(model: nn.Module) -> Tensor:
    """SHA-256 over the parameters of an unmasked model, as 32 floats (0 to 255).

    Independent of names and order, which differ between versions of torch for weight-normalised tensors. Floats, because
    ESPnet's n-best averaging sums integer tensors.
    """
    parts = sorted(
        sha256(str(tuple(p.shape)).encode() + p.detach().cpu().contiguous().numpy().tobytes()).digest()
        for p in model.parameters()
    )
    return torch.tensor(list(sha256(b"".join(parts)).digest()), dtype=torch.float32)


class SlimState:
    """Filters the state dict of ``frontend``, whose s3prl expert is at ``upstream.upstream``. Made before the method is
    attached, so that the fingerprint is that of the base."""

    def __init__(self, frontend: nn.Module, upstream_name: str) -> None:
        self._upstream_name = upstream_name
        self._kept: set[str] = set()
        frontend.register_buffer(FINGERPRINT, fingerprint(frontend.upstream))  # type: ignore[arg-type]
        frontend.register_state_dict_post_hook(lambda *hooked: self.save(*hooked))
        frontend.register_load_state_dict_pre_hook(self.load)

    def keep(self, frontend: nn.Module, attached: Attached) -> None:
        """From now on only the parameters of ``attached`` (and the featurizer's, if trained) are saved and demanded."""
        self._kept = {f"upstream.upstream.{name}" for name in (*attached.trained, *attached.saved)} | {FINGERPRINT}
        for name, parameter in frontend.featurizer.named_parameters():  # type: ignore[union-attr, operator]
            if parameter.requires_grad:
                self._kept.add(f"featurizer.{name}")

    def save(self, module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
        """State-dict hook: drop what is frozen."""
        kept = self._kept | foreign(module, self._kept)
        for key in [key for key in state if key.startswith(prefix) and key[len(prefix) :] not in kept]:
            del state[key]

    def load(self, module: nn.Module, state: dict[str, Tensor], prefix: str, *unused: Any) -> None:
        """Load hook: verify, then refill the frozen entries from the live model."""
        live = dense_state(module)
        given = {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}
        missing = sorted(self._kept - set(given))
        if missing:
            raise InputError(
                f"The checkpoint lacks {len(missing)} of the {len(self._kept)} tensors that this frontend has learned, for "
                f"example {prefix}{missing[0]}. It was trained with another method or other targets, or with another kind "
                "of frontend: use the config.yaml that lies beside the checkpoint"
            )
        if not torch.equal(given[FINGERPRINT].cpu(), live[FINGERPRINT].cpu()):
            raise InputError(
                f"The checkpoint belongs to other base weights than those of upstream {self._upstream_name!r}: "
                f"fingerprint {_short(given[FINGERPRINT])}, expected {_short(live[FINGERPRINT])}. "
                "Give frontend_conf the upstream and path_or_url that it was trained on"
            )
        frozen = sorted(given.keys() - self._kept - foreign(module, self._kept))
        if frozen:  # they would be used now and be missing from every file that is saved
            raise InputError(
                f"The checkpoint holds {len(frozen)} tensors that this frontend's method leaves as they are, for example "
                f"{prefix}{frozen[0]}. It was trained with another method or other targets: use the config.yaml that lies "
                "beside it, or to begin from a finetuned model a method with start in mask_conf"
            )
        for name in self._kept:
            got, expected = tuple(given[name].shape), tuple(live[name].shape)
            if got != expected:
                raise InputError(f"The checkpoint's {prefix}{name} has shape {got}, expected {expected}")
        for name, tensor in live.items():
            state.setdefault(prefix + name, tensor)


def foreign(frontend: nn.Module, ours: set[str]) -> set[str]:
    """Parameters of modules to which somebody else has added trained ones (ESPnet's own adapters). Such a module is saved
    whole: loralib merges its update into the frozen weight whenever the model is evaluated."""
    found: set[str] = set()
    for path, module in frontend.named_modules():
        own = {f"{path}.{name}" if path else name: p for name, p in module.named_parameters(recurse=False)}
        if any(parameter.requires_grad and name not in ours for name, parameter in own.items()):
            found |= own.keys()
    return found


def dense_state(frontend: nn.Module) -> dict[str, Tensor]:
    """The state dict of a frontend with everything in it, frozen or not (references, no copies)."""
    state: dict[str, Tensor] = {FINGERPRINT: getattr(frontend, FINGERPRINT)}
    for child in ("upstream", "featurizer"):
        state |= getattr(frontend, child).state_dict(prefix=f"{child}.")
    return state


def _short(values: Tensor) -> str:
    return bytes(int(value) % 256 for value in values.flatten()[:6]).hex()
