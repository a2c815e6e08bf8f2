"""``OnnxBank``: one graph in ONNX and a route file for each language, which take turns on its weights."""

import threading
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.exported import graph
from espnet_s3router.exported.layout import BANK_TYPE, HOW_TO_EXPORT, MODEL, read_description, vocabulary
from espnet_s3router.exported.libraries import need
from espnet_s3router.exported.session import Session
from espnet_s3router.routes import RouteFile, open_route
from espnet_s3router.routes.route import OUTPUT
from espnet_s3router.routes.switch import Changes, Switch, removed_weights
from espnet_s3router.serving.onnx_model import framewise, transcript, windows_of
from espnet_s3router.serving.transcript import Audio, Transcript


class OnnxBank:
    """Transcribes recordings in many languages with one graph. Threads may share one, and take turns.

    The weights that routes change are inputs of the graph with a default: the base. They lie in memory once more than in
    the session, and a change of language writes only the places where masks differ.

    Args:
        folder: what ``s3router export --bank`` wrote: model.onnx, config.json and NAME.route for each language.
        window_s, overlap_s, threads: as for ``OnnxModel``.

    Raises:
        InputError: libraries are missing, or the folder is another one.
    """

    def __init__(self, folder: str | Path, *, window_s: float = 20.0, overlap_s: float = 2.0, threads: int = 0) -> None:
        folder = Path(folder)
        description = read_description(folder)
        if description.model_type != BANK_TYPE:
            raise InputError(
                f"{folder}: holds a model of one language. Transcribe without --bank: s3router transcribe {folder}"
            )
        self._session = Session(folder / MODEL, description, threads=threads)
        self._windows = windows_of(self._session, window_s, overlap_s)
        self._files = {path.stem: open_route(path) for path in sorted(folder.glob("*.route"))}
        if not self._files:
            raise InputError(f"{folder}: holds no .route file. {HOW_TO_EXPORT} with --bank")
        self._base = BankWeights(folder / MODEL, self._session.replaceable())
        self._changes: dict[str, Changes] = {}
        self._lock = threading.Lock()
        self.current: str | None = None
        """Name of the language whose masks are applied."""

    @property
    def names(self) -> list[str]:
        """Names of all languages, sorted."""
        return sorted(self._files)

    def file(self, name: str) -> RouteFile:
        """The route file of a language. Raises InputError that lists the names for an unknown one."""
        if name not in self._files:
            near = get_close_matches(name, self._files, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"there is no language {name!r}, expected one of {', '.join(self.names)}.{hint}")
        return self._files[name]

    def log_probs(self, audio: Audio, lang: str) -> Tensor:
        """Log probabilities (frames, tokens) of a file or of samples, with the masks and the head of a language."""
        file = self.file(lang)
        with self._lock:
            if self.current != lang:
                self.current = None
                self._base.apply(self._changes_of(lang))
                self.current = lang
            return framewise(self._session, self._windows, audio, self._base.values | self._base.head(file))

    def transcribe(self, audio: Audio, lang: str) -> Transcript:
        """The text of a file or of samples. Raises InputError for an unknown language, and BadAudio for unreadable audio."""
        file = self.file(lang)
        tokens = vocabulary(file.header["tokens"], 0, file.header["config"].get("token_type") or "char")
        return transcript(self.log_probs(audio, lang), tokens, 0, self._windows.hop, lang)

    def _changes_of(self, name: str) -> Changes:
        if name not in self._changes:
            self._changes[name] = self._base.changes(self._files[name])
        return self._changes[name]


class BankWeights:
    """The weights of a graph that a run replaces, as arrays that a change of language writes into.

    ``values``: the arrays as onnxruntime takes them. They share memory, so a change needs no copy.
    """

    def __init__(self, path: Path, names: list[str]) -> None:
        onnx, self._runtime = need("onnx"), need("onnxruntime")
        model = onnx.load(str(path))
        self._transposed = graph.transposed(model)
        self._fingerprint = graph.facts_of(model).get(graph.BASE, "")
        arrays = {
            tensor.name: np.ascontiguousarray(onnx.numpy_helper.to_array(tensor)).copy()
            for tensor in model.graph.initializer
            if tensor.name in names and tensor.name not in OUTPUT
        }
        self.values = {name: self._runtime.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
        self._tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self._switch = Switch(self._tensors)

    def apply(self, changes: Changes) -> None:
        """Apply a language. The one before is undone."""
        self._switch.apply(changes)

    def turned(self, name: str, tensor: Tensor) -> Tensor:
        """A tensor of torch's shape in the shape of the graph, or back."""
        return tensor.T.contiguous() if name in self._transposed else tensor

    def changes(self, file: RouteFile) -> Changes:
        """What a route changes. Raises InputError for a route on another base, and for one that this graph cannot hold."""
        self._switch.restore()
        known = {name.removeprefix("upstream/"): name for name in self._tensors if name.startswith("upstream/")}
        shapes = {name: tuple(self.turned(full, self._tensors[full]).shape) for name, full in known.items()}
        file.check_base(self._fingerprint, shapes)
        route = file.decode({name: self.turned(known[name], self._tensors[known[name]]) for name in file.coded})
        masks = {known[name]: self.turned(known[name], mask) for name, mask in route.masks.items()}
        tensors = {name: value for name, value in file.tensors.items() if not name.startswith("head/")}
        missing = sorted(tensors.keys() - self._tensors.keys())
        if missing:
            raise InputError(
                f"{file.path}: changes {missing[0]}, which this graph does not let change. Export the bank again"
            )
        whole = {name: self.turned(name, tensor.float()) for name, tensor in tensors.items()}
        return Changes(removed=removed_weights(replace(route, masks=masks), self._tensors), tensors=whole)

    def head(self, file: RouteFile) -> dict[str, Any]:
        """The head of a route as onnxruntime takes it."""
        arrays = {name: self.turned(name, file.tensors[name].float()).numpy() for name in OUTPUT}
        return {name: self._runtime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
