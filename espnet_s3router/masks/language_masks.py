"""One tensor with a mask for each of several languages, on the same weight (ASR Pathways, arXiv 2209.05735)."""

from collections.abc import Hashable, Sequence

from torch import Tensor, nn

from espnet_s3router.masks.inject import MaskedTensor


class LanguageTensor(MaskedTensor):
    """weight -> weight * mask of the language in use. Each language has scores of its own, in ``by_language``.

    ``masked`` gives the first scores of every language, the selector and the estimator. Its selector must rank one tensor
    alone. Each language keeps its selected mask, so a switch selects only masks whose scores have changed.
    """

    def __init__(self, masked: MaskedTensor, languages: Sequence[str]) -> None:
        nn.Module.__init__(self)  # the constructor of the parent class would make one parameter ``scores``
        first = masked.scores.detach()
        self.by_language = nn.ParameterDict({language: nn.Parameter(first.clone()) for language in languages})
        self.language = languages[0]
        self.shape, self.selector = masked.shape, masked.selector
        self.estimator, self.dense_gradient = masked.estimator, masked.dense_gradient
        self.selections = 0
        self._mask: Tensor | None = None
        self._key: Hashable = None
        self._fixed = False
        self._others: dict[str, tuple[Tensor | None, Hashable]] = {}
        """The selected masks of the languages that are not in use."""

    @property
    def scores(self) -> nn.Parameter:  # type: ignore[override]
        """The scores of the language in use."""
        return self.by_language[self.language]

    def all_scores(self) -> list[nn.Parameter]:
        return list(self.by_language.values())

    def use(self, language: str) -> None:
        """Mask with the scores of a language from now on. KeyError for an unknown language."""
        if language not in self.by_language:
            raise KeyError(language)
        self._others[self.language] = self._mask, self._key
        self.language = language
        self._mask, self._key = self._others.get(language, (None, None))
