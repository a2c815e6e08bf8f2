"""Families of text models as data: where the layers of Hugging Face's Transformers are, and their matrices.

Paths are relative to what ESPnet's post-encoder keeps of a model: the encoder of BERT and RoBERTa, the whole of XLNet.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from espnet_s3router.errors import InputError
from espnet_s3router.upstreams.families import Family, family_of

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class TextFamily:
    """One architecture. It has the properties of ``Family`` that methods need to find tensors."""

    name: str
    models: tuple[str, ...]
    """Models of this family, for messages."""
    feed_forward: tuple[str, ...]
    """The feed-forward tensors of a layer."""
    attention: tuple[str, ...]
    """The attention tensors of a layer."""
    layers: str = "layer"
    """Module list of the Transformer layers."""
    encoder: str = "layer"
    """What finetuning trains."""
    projection: tuple[str, ...] = ()
    extractor: str = ""
    """There is no convolutional frontend."""

    def patterns(self, target: str) -> list[str]:
        """fnmatch patterns of ``feed_forward``, ``attention`` or ``all`` (both); none for ``conv``."""
        chosen = {"feed_forward": self.feed_forward, "attention": self.attention, "conv": ()}
        # [0-9]: the number of the layer stands before the name, so output.dense is not attention.output.dense
        return [f"{self.layers}.*[0-9].{name}" for name in chosen.get(target, self.feed_forward + self.attention)]


TEXT_FAMILIES = (
    TextFamily(
        name="bert",
        models=("BERT", "RoBERTa", "ELECTRA"),
        feed_forward=("intermediate.dense.weight", "output.dense.weight"),
        attention=(
            *(f"attention.self.{part}.weight" for part in ("query", "key", "value")),
            "attention.output.dense.weight",
        ),
    ),
    TextFamily(
        name="xlnet",
        models=("XLNet",),
        feed_forward=("ff.layer_1.weight", "ff.layer_2.weight"),
        attention=tuple(f"rel_attn.{part}" for part in ("q", "k", "v", "o", "r")),
    ),
)
_FIRST_LAYER = {"bert": "layer.0.intermediate.dense", "xlnet": "layer.0.rel_attn"}
"""A module by which a family is recognised. Modules keep their paths when their tensors are masked."""


def text_family_of(model: "nn.Module") -> TextFamily | None:
    """The text family of a model; None for another model."""
    modules = {name for name, _ in model.named_modules()}
    return next((family for family in TEXT_FAMILIES if _FIRST_LAYER[family.name] in modules), None)


def layout_of(model: "nn.Module") -> Family | TextFamily:
    """The family of a text model or of a speech model. Raises InputError if it is none of them."""
    return text_family_of(model) or family_of(model)


def known_text_family(model: "nn.Module", name: str) -> TextFamily:
    """The text family of the model ``name``. Raises InputError for another architecture."""
    family = text_family_of(model)
    if family is None:
        known = "; ".join(f"{one.name}: {', '.join(one.models)}" for one in TEXT_FAMILIES)
        raise InputError(f"{name} has layers of no known text model ({type(model).__name__}). Expected one of {known}")
    return family
