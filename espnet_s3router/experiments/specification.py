"""Experiments as data: a base configuration, the lines of each method, and the values that are swept.

A point is one training run: a method with a sparsity (where it has one), a learning rate and a seed. Its configuration is
resolved to one YAML file in its folder, which ESPnet trains from.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml, write_atomic

Assignment = tuple[Sequence[str], Any]  # path of keys, value
FROM_OTHERS = (("mask_conf", "start"), ("mask_conf", "initial_mask"), ("distill", "teacher"))
"""Options in ``frontend_conf`` that name a model of another point."""


@dataclass(frozen=True, eq=False)
class Spec:
    """One point: its folder name and its resolved training configuration."""

    name: str
    config: Mapping[str, Any]
    alias: str = ""
    """The folder name of the same point where its rate stands in a file instead of being swept, or the other way round."""
    label: str = ""
    """The row of the methods file that it is."""

    @property
    def mask_conf(self) -> dict[str, Any]:
        """The method and its options."""
        return dict(self.config["frontend_conf"]["mask_conf"])

    @property
    def method(self) -> str:
        """What tables and results call the method: two forms of one are two rows of the methods file."""
        adapter = self.config.get("adapter") if self.config.get("use_adapter") else None
        return self.label or (f"espnet_{adapter}" if adapter else self.mask_conf["method"])

    @property
    def upstream(self) -> str:
        """What it is built on: s3prl's name, and of one that takes a path what lies there (``entry/folder``)."""
        source = self.config["frontend_conf"]["frontend_conf"]
        path = source.get("path_or_url")
        return f"{source['upstream']}/{Path(path).name}" if path else source["upstream"]

    def begins_from(self, folder: Path) -> bool:
        """Whether a model in ``folder`` is needed before this point is trained."""
        return any(path.parent == folder for path in origins_of(self.config))

    @property
    def variant(self) -> str:
        """Hash of the configuration without its seeds: points that differ in nothing else share it. A model of another
        point that it starts from counts as that point's variant."""
        plain = deepcopy(dict(self.config))
        plain.pop("seed", None)
        if "seed" in plain["frontend_conf"]["mask_conf"]:
            plain["frontend_conf"]["mask_conf"]["seed"] = 0
        for place, key in FROM_OTHERS:
            options = plain["frontend_conf"].get(place) or {}
            if options.get(key):
                options[key] = _origin(Path(options[key]))
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:10]


def origins_of(config: Mapping[str, Any]) -> list[Path]:
    """The models of other points that a configuration begins from."""
    conf = config["frontend_conf"]
    paths = [(conf.get(place) or {}).get(key) for place, key in FROM_OTHERS]
    return [Path(path) for path in paths if path]


def _origin(model: Path) -> str:
    """The variant of the point whose model this is, else the path."""
    config = model.parent / "train.yaml"
    return Spec(model.parent.name, read_yaml(config)).variant if config.exists() else str(model)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``, mapping by mapping. A ``mask_conf`` that names a method is replaced whole: its keys
    depend on the method."""
    merged = deepcopy(dict(base))
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        nested = nested and not (key == "mask_conf" and "method" in value)
        merged[key] = merge(merged[key], value) if nested else deepcopy(value)
    return merged


def parse_assignment(text: str) -> Assignment:
    """``frontend_conf.mask_conf.sparsity=0.1`` as (path of keys, value); the value is read as YAML."""
    path, sign, value = text.partition("=")
    if not sign or not path:
        raise InputError(f"--asr_args: {text!r} is not KEY=VALUE, for example optim_conf.lr=0.001")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:  # a pattern such as *.fc1.weight
        parsed = value
    if isinstance(parsed, int) and ":" in value:  # YAML 1.1 reads 2:4 as minutes and seconds
        parsed = value
    if isinstance(parsed, str):  # YAML 1.1 reads 1e-3, without a point, as text
        with suppress(ValueError):
            parsed = float(parsed)
    return path.lstrip("-").split("."), parsed


def set_path(config: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set one nested value, in place."""
    for key in path[:-1]:
        if not isinstance(config.get(key), dict):
            config[key] = {}
        config = config[key]
    config[path[-1]] = value


def expand(
    base: Mapping[str, Any],
    methods: Mapping[str, Mapping[str, Any]],
    chosen: Iterable[str],
    *,
    sparsities: Sequence[float] = (),
    lrs: Sequence[float] = (),
    seeds: Sequence[int] = (0,),
    prefix: str = "asr",
    assignments: Sequence[Assignment] = (),
    starts: Mapping[int, str] = MappingProxyType({}),
) -> list[Spec]:
    """The points of a grid, methods outermost. Sparsities apply to methods that mask, but to N:M patterns, which have one of
    their own; empty means the file's own value.
    ``assignments`` (see ``parse_assignment``) win over what the methods say. ``starts``: seed -> model for the methods that
    can ``start`` from one and do not say from which, and the teacher of those that do not start from one.

    InputError for a method that ``methods`` does not hold, or a value that a method refuses.
    """
    from espnet_s3router.masks.ranking import n_of_m

    specs = []
    for label in chosen:
        if label not in methods:
            raise InputError(f"method {label!r} is not in the methods file, which has {', '.join(methods)}")
        config = merge(base, methods[label])
        for path, value in assignments:
            set_path(config, path, value)
        swept = method_of(config).masks and n_of_m(config["frontend_conf"]["mask_conf"].get("ranking")) is None
        for sparsity in sparsities if swept and sparsities else (None,):
            for lr in lrs or (None,):
                for seed in seeds:
                    specs.append(_point(config, label, sparsity, lr, seed, prefix, starts.get(seed)))
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"the grid holds {twice[0]} twice: give every method, sparsity, rate and seed once")
    return specs


def method_of(config: Mapping[str, Any]) -> Any:
    """The row of the table of methods that a configuration uses; InputError for a method that there is not."""
    from espnet_s3router.methods import METHODS, resolve

    mask_conf = config["frontend_conf"]["mask_conf"]
    return METHODS[mask_conf["method"] if mask_conf.get("method") in METHODS else resolve(mask_conf)[0]]


def updates_of(config: Mapping[str, Any]) -> int | None:
    """Optimiser updates of a run; None where the configuration leaves it to the data."""
    if not config.get("max_epoch") or not config.get("num_iters_per_epoch"):
        return None
    return config["max_epoch"] * (config["num_iters_per_epoch"] // config.get("accum_grad", 1))  # an epoch's rest is left


def _point(
    config: Mapping[str, Any],
    label: str,
    sparsity: float | None,
    lr: float | None,
    seed: int,
    prefix: str,
    start: str | None,
) -> Spec:
    from espnet_s3router.methods import resolve

    config, row = deepcopy(dict(config)), method_of(config)
    options = row.config.__dataclass_fields__
    mask_conf = config["frontend_conf"]["mask_conf"]
    name = f"{prefix}_{label}"
    if sparsity is not None:
        mask_conf["sparsity"] = sparsity
    if row.masks:
        name += f"_s{mask_conf['sparsity']:g}"
    if lr is not None:
        config.setdefault("optim_conf", {})["lr"] = lr
    rate = config.get("optim_conf", {}).get("lr")
    plain, swept = f"{name}_seed{seed}", f"{name}_lr{rate:g}_seed{seed}" if isinstance(rate, int | float) else ""
    config["seed"] = seed
    # The seed of a run is also that of its score initialisation.
    if "seed" in options:
        mask_conf["seed"] = seed
    if "start" in options and start is not None:
        mask_conf.setdefault("start", start)
    if config["frontend_conf"].get("distill") and not mask_conf.get("start") and start is not None:
        config["frontend_conf"]["distill"].setdefault("teacher", start)
    if "updates" in options and updates_of(config):  # that ramps and rounds are laid out over
        mask_conf.setdefault("updates", updates_of(config))
    method = resolve(mask_conf)[1]
    if config.get("scheduler") == "tristagelr_rounds" and "rounds" in options:
        config.setdefault("scheduler_conf", {}).setdefault("rounds", method.rounds)
    return Spec(plain, config, swept, label) if lr is None else Spec(swept, config, plain, label)


def home(spec: Spec, expdir: str | Path) -> Path:
    """The folder of a point: that of its other name where the same was trained there."""
    other = Path(expdir) / (spec.alias or spec.name)
    if (other / ".trained").exists() and (other / "train.yaml").read_text(encoding="utf-8") == _yaml(spec):
        return other
    return Path(expdir) / spec.name


def is_begun(folder: Path) -> bool:
    """Whether an epoch was trained there; else the run failed at once, and nothing is lost with it."""
    return any((folder / name).exists() for name in ("checkpoint.pth", "checkpoint.previous.pth", ".trained"))


def store(spec: Spec, expdir: str | Path) -> Path:
    """Write the configuration of a point into its folder and return that; InputError if another one lies there."""
    folder = home(spec, expdir)
    path = folder / "train.yaml"
    text = _yaml(spec)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return folder
    if path.exists() and is_begun(folder):
        raise InputError(
            f"{folder} holds another configuration of {spec.name} (train.yaml). Remove the folder to train anew, or keep "
            "both with --asr_tag"
        )
    write_atomic(path, text)
    return folder


def _yaml(spec: Spec) -> str:
    return yaml.safe_dump(dict(spec.config), sort_keys=False)
