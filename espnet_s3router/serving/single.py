"""``SingleModel``: one model of ESPnet where a router expects a bank."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from espnet_s3router.errors import InputError


class SingleModel:
    """One model under one name. Threads take turns.

    Args:
        name: its name, for example its language.
        model: ESPnet's model.
        config: its ESPnet configuration; ``decoding`` in it holds options of the decoder.
        task: asr or slu.
    """

    def __init__(self, name: str, model: Any, config: Mapping[str, Any], task: str = "asr") -> None:
        self._task = task
        self._name, self._model, self._config = name, model.eval().requires_grad_(False), config
        if not hasattr(model.frontend, "hop_length"):  # of ESPnet's own frontend
            model.frontend.hop_length = model.frontend.upstream.downsample_rates[-1]
        self._lock = threading.RLock()

    @property
    def names(self) -> list[str]:
        """The name."""
        return [self._name]

    def config(self, name: str) -> Mapping[str, Any]:
        """The configuration. Raises InputError for another name."""
        if name != self._name:
            raise InputError(f"there is no route {name!r}, expected {self._name}: this is one model for one language")
        return self._config

    def task(self, name: str) -> str:
        """asr or slu."""
        self.config(name)
        return self._task

    def tokens(self, name: str) -> list[str]:
        """The token list of the model."""
        self.config(name)
        return list(self._model.token_list)

    @contextmanager
    def using(self, name: str) -> Iterator[Any]:
        """The model. Other threads wait until the block ends."""
        self.config(name)
        with self._lock:
            yield self._model
