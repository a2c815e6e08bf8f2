"""``Bank``: one base in memory and many routes, which take turns on it."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from espnet_s3router.devices import usable_device
from espnet_s3router.errors import InputError
from espnet_s3router.plugin.frontend import MaskedUpstream
from espnet_s3router.routes import RouteFile, open_route, routes_in
from espnet_s3router.routes.switch import Changes
from espnet_s3router.serving.base import Base
from espnet_s3router.serving.changes import changes_of

AUTO = "auto"
"""Stands for a language that is not known, so no route has this name."""
NO_ROUTE = "the bank holds no route. Add one: bank.add('nl.route')"


@dataclass(frozen=True)
class _Ready:
    """A route that can be applied at once."""

    changes: Changes
    model: Any
    """ESPnet's model with the head of the route, on a view of the shared frontend."""

    def nbytes(self) -> int:
        children = (child for name, child in self.model.named_children() if name != "frontend")
        return self.changes.nbytes() + sum(p.nbytes for child in children for p in child.parameters())


class Bank:
    """Many routes on one base. One thread at a time uses the base; the others wait.

    A route takes as much memory as its file. The routes that were used last stay ready beside it, within ``ready_mb``: their
    decoded masks and their heads. Applying a ready route takes about as long as copying the masked weights once.

    Args:
        source: upstream and path of the base, instead of those that the first route names.
        ready_mb: MiB for routes that stay ready; at least one route always does.
        device: where the base lies.
    """

    def __init__(
        self, source: Mapping[str, Any] | None = None, *, ready_mb: float = 256, device: str | torch.device = "cpu"
    ) -> None:
        self._source = source
        self._limit = int(ready_mb * 2**20)
        self._device = usable_device(device)
        self.lock = threading.RLock()
        """Held by the thread that uses the base."""
        self._files: dict[str, RouteFile] = {}
        self._ready: OrderedDict[str, _Ready] = OrderedDict()
        self._base: Base | None = None
        self._in_use: str | None = None
        """Name of the route of the innermost block of ``using``."""
        self.current: str | None = None
        """Name of the route that is applied; None for the plain base."""
        self.broken: dict[str, str] = {}
        """Files of ``from_dir`` that could not be added, by name, with the reason."""

    @classmethod
    def from_dir(cls, folder: str | Path, source: Mapping[str, Any] | None = None, **options: Any) -> "Bank":
        """A bank of all ``*.route`` files in a folder, named by the file names without suffix.

        Files that cannot be used are listed in ``broken`` and logged, and the others are served. Raises InputError if the
        folder holds no usable file.
        """
        paths = routes_in(folder)
        bank = cls(source, **options)
        for path in paths:
            try:
                bank.add(path)
            except InputError as error:
                bank.broken[path.stem] = str(error)
                logging.warning("left out of the bank: %s", error)
        if not bank.names:
            raise InputError(f"{folder}: none of its {len(paths)} routes can be used. {next(iter(bank.broken.values()))}")
        return bank

    @property
    def names(self) -> list[str]:
        """Names of all routes, sorted."""
        return sorted(self._files)

    @property
    def frontend(self) -> MaskedUpstream:
        """The shared frontend. Hold the lock of ``using`` while you use it."""
        if self._base is None:
            raise InputError(NO_ROUTE)
        return self._base.frontend

    def file(self, name: str) -> RouteFile:
        """The file of a route. Raises InputError that lists the names for an unknown one."""
        file = self._files.get(name)  # one step, without the lock: another thread may drop the route at any time
        if file is None:
            near = get_close_matches(name, self.names, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"there is no route {name!r}, expected one of {', '.join(self.names) or 'none'}.{hint}")
        return file

    def config(self, name: str) -> Mapping[str, Any]:
        """ESPnet's configuration of a route. Raises InputError that lists the names for an unknown one."""
        return self.file(name).header["config"]

    def task(self, name: str) -> str:
        """Task of a route: asr or slu."""
        return self.file(name).header["metadata"]["task"]

    def tokens(self, name: str) -> list[str]:
        """The token list of a route."""
        return self.file(name).header["tokens"]

    def add(self, path: str | Path, name: str | None = None) -> str:
        """Add a route file, by default under its file name without suffix; returns the name.

        A route of that name is replaced. The first route decides the base. Raises InputError for a broken file, for another
        base, for a method that adds modules and for the name ``auto``; the bank is unchanged then.
        """
        file = open_route(path)
        name = name or Path(path).stem
        if name == AUTO:
            raise InputError(f"{path}: no route can be named {AUTO}, which stands for an unknown language. Rename the file")
        with self.lock:
            before = self.current
            try:
                ready = self._prepare(file)
                self.drop(name, missing_ok=True)
                self._files[name] = file
                self._keep(name, ready)
            finally:
                if before in self._files:
                    self.use(before)
        return name

    def drop(self, name: str, *, missing_ok: bool = False) -> None:
        """Forget a route. The base is restored if the route is applied."""
        with self.lock:
            if missing_ok and name not in self._files:
                return
            self.file(name)
            if self.current == name:
                self.restore()
            del self._files[name]
            self._ready.pop(name, None)

    def use(self, name: str) -> Any:
        """Apply a route, and return ESPnet's model with its head. Nothing happens if it is applied already.

        With several threads, use ``using`` instead: another thread may change the base at any time.
        """
        with self.lock:
            self.file(name)
            if self.current != name:
                ready = self._get_ready(name)
                self.current = None
                assert self._base is not None  # every route was prepared on it
                self._base.switch.apply(ready.changes)
                self.current = name
            return self._ready[name].model

    @contextmanager
    def using(self, name: str) -> Iterator[Any]:
        """The model of a route. Other threads wait until the block ends.

        Blocks may be nested: after the inner one, the route of the outer one is applied again.
        """
        with self.lock:
            outer, self._in_use = self._in_use, name
            try:
                yield self.use(name)
            finally:
                self._in_use = outer
                if outer in self._files:
                    self.use(outer)

    def changes(self, name: str) -> Changes:
        """What a route changes on the base. The base may be restored on the way."""
        return self._get_ready(name).changes

    def model(self, name: str) -> Any:
        """ESPnet's model with the head of a route, on the base as it is now. The base may be restored on the way."""
        return self._get_ready(name).model

    def restore(self) -> None:
        """Apply no route: the base is as it was loaded, bit for bit."""
        with self.lock:
            if self._base is not None:
                self._base.switch.restore()
            self.current = None

    def _get_ready(self, name: str) -> _Ready:
        with self.lock:
            file = self.file(name)
            ready = self._ready.get(name) or self._prepare(file)
            self._keep(name, ready)
            return ready

    def _prepare(self, file: RouteFile) -> _Ready:
        """Check and decode a route. No route is applied then, because codes may need the weights of the base."""
        self.restore()
        base = self._base or Base(file, self._source, self._device)
        base.check(file)
        ready = _Ready(changes_of(file, base.frontend), base.model(file))
        self._base = base  # only a route that can be used decides which base is loaded
        return ready

    def _keep(self, name: str, ready: _Ready) -> None:
        """Keep a route ready, and let those go that were used longest ago."""
        self._ready[name] = ready
        self._ready.move_to_end(name)
        while len(self._ready) > 1 and sum(ready.nbytes() for ready in self._ready.values()) > self._limit:
            self._ready.popitem(last=False)
