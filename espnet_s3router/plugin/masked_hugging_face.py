"""Post-encoder ``masked_hugging_face``: ESPnet's post-encoder of a Hugging Face Transformer, with a method of ours.

The method decides what is trained. It and its options are in ``mask_conf``, as for the frontend.
"""

from contextlib import nullcontext
from typing import Any

import torch
from espnet2.asr.postencoder.hugging_face_transformers_postencoder import HuggingFaceTransformersPostEncoder
from torch import Tensor, nn

from espnet_s3router.errors import InputError, summary
from espnet_s3router.masks.recomputed_product import recomputed_products
from espnet_s3router.methods import Attached, attach, resolve
from espnet_s3router.upstreams.text import known_text_family

POSTENCODER_NAME = "masked_hugging_face"
ALLOWED = ("head_only", "finetune", "bitfit", "routing", "random", "magnitude")
"""Methods that need no call in training, and no model to start from."""
NOT_HERE = ("initial_mask", "flip_penalty")
"""Options of these methods that need such a call or model."""


class MaskedHuggingFace(HuggingFaceTransformersPostEncoder):
    """States (batch, frames, input_size) -> states (batch, frames, dim) of a text model with masks.

    Args:
        input_size, model_name_or_path, length_adaptor_n_layers, lang_token_id: as of ESPnet's ``hugging_face_transformers``.
        mask_conf: a method of ``ALLOWED`` and its options. ``targets``: feed_forward, attention, all, or fnmatch patterns.

    Raises:
        InputError: the model cannot be loaded, is of no known family, or the method does not work here.
    """

    def __init__(
        self,
        input_size: int,
        model_name_or_path: str,
        mask_conf: dict[str, Any] | None = None,
        length_adaptor_n_layers: int = 0,
        lang_token_id: int = -1,
    ) -> None:
        self.mask_conf = dict(mask_conf or {"method": "head_only"})
        method, options = resolve(self.mask_conf)
        if method not in ALLOWED:
            raise InputError(f"postencoder_conf: method is {method}, expected one of {', '.join(ALLOWED)} for a text model")
        for name in NOT_HERE:
            if getattr(options, name, None):
                raise InputError(f"postencoder_conf: mask_conf has {name}, which works for the upstream alone: leave it out")
        try:
            super().__init__(input_size, model_name_or_path, length_adaptor_n_layers, lang_token_id)
        except (OSError, ValueError) as error:
            raise InputError(f"postencoder_conf: {model_name_or_path} cannot be loaded: {summary(error)}") from error
        self.pretrained_params: dict[str, Tensor] = {}  # ESPnet keeps a second copy of all weights
        self._source = (input_size, model_name_or_path, self.mask_conf, length_adaptor_n_layers, lang_token_id)
        known_text_family(self.transformer, model_name_or_path)
        self.attached: Attached = attach(self.transformer, self.mask_conf)
        self.register_load_state_dict_pre_hook(_refuse_incomplete)

    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; ``input_lengths`` (batch,) in frames."""
        learns = torch.is_grad_enabled() and bool(self.attached.trained)
        with recomputed_products() if learns else nullcontext():
            return super().forward(input, input_lengths)

    @torch.no_grad()
    def reload_pretrained_parameters(self) -> None:
        """Load the text model and the first masks again: ESPnet's option ``init`` overwrites every parameter."""
        fresh = MaskedHuggingFace(*self._source)
        self.transformer.load_state_dict(fresh.transformer.state_dict(), strict=True)


def _refuse_incomplete(module: nn.Module, state: dict[str, Tensor], prefix: str, *unused: Any) -> None:
    """Load hook: ESPnet loads with strict=False, and would decode with the first masks."""
    missing = [name for name in module.state_dict() if prefix + name not in state]
    if missing:
        raise InputError(
            f"The checkpoint lacks {len(missing)} tensors of the post-encoder, for example {prefix}{missing[0]}. It was "
            "trained with another post-encoder or another method: use the config.yaml beside it"
        )


def attachments(model: Any) -> list[Attached]:
    """The handles of the methods of a model: that of its frontend, then those of its text models."""
    parts = (getattr(model, name, None) for name in ("frontend", "postencoder", "deliberationencoder"))
    handles = (getattr(part, "attached", None) for part in parts)
    return [handle for handle in handles if isinstance(handle, Attached)]
