"""``pathways``: several languages or tasks in one run, with masks for each of them on shared weights (arXiv 2209.05735).

The weights stay frozen, or they train under the overlapping masks (``train_weights``). Every batch belongs to one language.
Whoever runs the model calls ``use`` before its forward pass.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import LanguageTensor, MaskedTensor, masked_tensors
from espnet_s3router.masks.names import parameter_key, scores_key
from espnet_s3router.masks.ranking import SHARED
from espnet_s3router.methods.base import bitmap_bytes
from espnet_s3router.methods.learned_masks import LearnedMaskConfig, Routed, learn_masks
from espnet_s3router.methods.options import check


@dataclass(frozen=True, kw_only=True)
class PathwaysConfig(LearnedMaskConfig):
    """Trains the scores of each language on shared weights: ASR Pathways (arXiv 2209.05735).

    ``train_weights`` trains these weights too. A batch changes only the weights that the mask of its language keeps.
    """

    languages: tuple[str, ...] = ()
    """The languages or tasks, as the files utt2category name them. Each has masks of its own."""
    heads: str = "shared"
    """``shared``: one output layer for all. ``own``: one for each language, with the tokens of all."""
    masks: str = "own"
    """``own``: masks for each language. ``shared``: one mask for all, which needs ``heads: own``."""

    def __post_init__(self) -> None:
        if isinstance(self.languages, list):
            object.__setattr__(self, "languages", tuple(self.languages))
        super().__post_init__()
        names = self.languages
        usable = isinstance(names, tuple) and names and all(isinstance(name, str) and name for name in names)
        usable = usable and len(set(names)) == len(names) and not any(set(name) & set("./ \t") for name in names)
        allowed = "one or more different names without dots, slashes and spaces, such as [en, es]"
        check(bool(usable), "languages", names, allowed)
        for name in names:  # a language is the name of a parameter and of a module
            taken = hasattr(nn.ParameterDict, name) or hasattr(nn.ModuleDict, name)
            check(not taken, "languages", names, f"another name than {name}, which PyTorch uses, for example {name}_")
        check(self.heads in ("shared", "own"), "heads", self.heads, "shared or own")
        check(self.masks in ("shared", "own"), "masks", self.masks, "shared or own")
        common = self.masks == self.heads == "shared"
        check(not common, "masks", self.masks, "own with heads: shared, or method routing on the pooled data")
        allowed = "another ranking than global and units with method pathways"
        check(self.ranking not in ("global", SHARED), "ranking", self.ranking, allowed)


@dataclass(kw_only=True)
class Pathways(Routed):
    """Learned masks of several languages, of which one is in use."""

    options: PathwaysConfig
    head: "LanguageHead | None" = None
    """The output layers, if each language has its own."""
    chosen: bool = False
    """True after the first ``use``. Until then a forward pass is refused, unless there is one language."""

    @property
    def pathways(self) -> dict[str, LanguageTensor]:
        """The masked tensors by path."""
        return {name: masked for name, masked in self.masks.items() if isinstance(masked, LanguageTensor)}

    def use(self, language: str) -> None:
        """Use the masks of a language from now on. Raises InputError for an unknown language."""
        if language not in self.options.languages:
            known = ", ".join(self.options.languages)
            raise InputError(f"the language is {language!r}, expected one of {known} (languages in mask_conf)")
        self._switch(language)
        self.chosen = True

    def _switch(self, language: str) -> None:
        for masked in self.pathways.values():
            masked.use(language)
        if self.head is not None:
            self.head.language = language

    def require_language(self) -> None:
        """Raises InputError if no language is chosen."""
        languages = self.options.languages
        if not self.chosen and len(languages) > 1:
            raise InputError(
                f"the model has masks of {', '.join(languages)}, and none is chosen. Write one language with "
                "s3router language, and use its files"
            )

    @torch.no_grad()
    def begin(self, start: Mapping[str, Tensor] | None = None, saliency: Mapping[str, Tensor] | None = None) -> None:
        """With ``saliency``, the scores of all languages begin in its order."""
        for language in self.options.languages:
            self._switch(language)
            super().begin(start, saliency)
        self._switch(self.options.languages[0])

    def end_epoch(self) -> None:
        """Use the first language, whose flips are logged."""
        self._switch(self.options.languages[0])

    def bytes_added(self) -> int:
        masks = sum(bitmap_bytes(masked.choices) for masked in self.pathways.values())
        return super().bytes_added() + (len(self.options.languages) - 1) * masks


class LanguageHead(nn.Module):
    """An output layer for each language: (batch, frames, dim) -> (batch, frames, tokens) by that of ``language``."""

    def __init__(self, layer: nn.Linear, languages: Sequence[str]) -> None:
        super().__init__()
        self.by_language = nn.ModuleDict({language: deepcopy(layer) for language in languages})
        self.language = languages[0]

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply the layer of the language in use."""
        return self.by_language[self.language](hidden)


def pathways(upstream: nn.Module, config: PathwaysConfig) -> Pathways:
    """Mask every site once for each language, or once for all. All languages begin with the same scores."""
    learned = learn_masks(upstream, config)
    scores: dict[str, dict[str, nn.Parameter]] = {}
    for name, masked in masked_tensors(upstream).items() if config.masks == "own" else ():
        scores[scores_key(name)] = _split(upstream, name, masked, config)
    trained, saved = (_of_languages(part, scores) for part in (learned.trained, learned.saved))
    attached = Pathways(upstream=upstream, trained=trained, saved=saved, options=config)
    upstream.register_forward_pre_hook(lambda *unused: attached.require_language())
    return attached


def _split(upstream: nn.Module, name: str, masked: MaskedTensor, config: PathwaysConfig) -> dict[str, nn.Parameter]:
    """Replace the mask on a tensor by masks of all languages, in place. Returns their scores by path."""
    masked.dense_gradient = False  # a weight learns from the languages whose masks keep it
    owner, _, tensor = name.rpartition(".")
    split = LanguageTensor(masked, config.languages)
    chain: Any = upstream.get_submodule(owner).parametrizations
    chain[tensor][0] = split
    return {parameter_key(name, f"by_language.{language}"): scores for language, scores in split.by_language.items()}


def _of_languages(
    part: Mapping[str, nn.Parameter], scores: Mapping[str, Mapping[str, nn.Parameter]]
) -> dict[str, nn.Parameter]:
    """``part`` with the scores of every language in place of the scores that they began with."""
    found: dict[str, nn.Parameter] = {}
    for name, parameter in part.items():
        found |= scores.get(name, {name: parameter})
    return found


def state_of_language(state: Mapping[str, Tensor], language: str) -> dict[str, Tensor]:
    """A state dict of ``pathways`` as one of ``routing`` with the masks and the head of one language. Other tensors stay.

    Raises InputError if it holds no scores of the language.
    """
    found: dict[str, Tensor] = {}
    languages: set[str] = set()
    for key, tensor in state.items():
        before, marker, owner = key.partition(".by_language.")
        owner, _, of_head = owner.partition(".")
        languages |= {owner} - {""}
        if not marker:
            found[key] = tensor
        elif owner == language:
            found[f"{before}.{of_head or 'scores'}"] = tensor
    if language not in languages:
        listed = ", ".join(sorted(languages)) or "none: the model has no masks of languages"
        raise InputError(f"the language is {language!r}, expected one of {listed}")
    return found
