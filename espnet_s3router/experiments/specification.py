"""The configuration of one run, and the runs of a grid: a base configuration, the row of each method, and swept values.

A run trains one method with a sparsity (if it has one), a learning rate and a seed. ``train.yaml`` in its experiment folder
holds its resolved configuration, which ESPnet trains from.
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
from espnet_s3router.experiments.layout import TRAIN_CONFIG, is_started, is_trained
from espnet_s3router.files import read_yaml, write_atomic

Assignment = tuple[Sequence[str], Any]  # path of keys, value
MODELS_OF_OTHERS = (("mask_conf", "start"), ("mask_conf", "initial_mask"), ("distill", "teacher"))
"""Options in ``frontend_conf`` that name a model of another run."""
SEED = "{seed}"
"""Stands for the seed of the run in the option ``start``: each seed has its own finetuned model."""


@dataclass(frozen=True, eq=False)
class Spec:
    """One run: the name of its experiment folder and its resolved training configuration."""

    name: str
    config: Mapping[str, Any]
    alias: str = ""
    """The folder name that the same run has if its learning rate is in a file instead of swept, or the other way round."""
    label: str = ""
    """Its row in the methods file."""

    @property
    def mask_conf(self) -> dict[str, Any]:
        """The method and its options."""
        return dict(self.config["frontend_conf"]["mask_conf"])

    @property
    def method(self) -> str:
        """Name of the method in tables and results; two rows of the methods file are two names."""
        adapter = self.config.get("adapter") if self.config.get("use_adapter") else None
        return self.label or (f"espnet_{adapter}" if adapter else self.mask_conf["method"])

    @property
    def upstream(self) -> str:
        """Name of the upstream in s3prl; with the last folder of its path, if it has one (``entry/folder``)."""
        source = self.config["frontend_conf"]["frontend_conf"]
        path = source.get("path_or_url")
        return f"{source['upstream']}/{Path(path).name}" if path else source["upstream"]

    def starts_from(self, experiment: Path) -> bool:
        """True if this run needs a model of ``experiment`` before it can train."""
        return any(path.parent == experiment for path in origins_of(self.config))

    @property
    def variant(self) -> str:
        """Hash of the configuration without its seeds: runs that differ in nothing else share it. A model of another run is
        hashed as the variant of that run."""
        plain = deepcopy(dict(self.config))
        plain.pop("seed", None)
        if "seed" in plain["frontend_conf"]["mask_conf"]:
            plain["frontend_conf"]["mask_conf"]["seed"] = 0
        for place, key in MODELS_OF_OTHERS:
            options = plain["frontend_conf"].get(place) or {}
            if options.get(key):
                options[key] = _variant_of_model(Path(options[key]))
        if plain.get("init_param"):
            files = [text.partition(":") for text in plain["init_param"]]
            plain["init_param"] = ["".join([_variant_of_model(Path(file)), *rest]) for file, *rest in files]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:10]

    @property
    def yaml(self) -> str:
        """The content of ``train.yaml``."""
        return yaml.safe_dump(dict(self.config), sort_keys=False)


def origins_of(config: Mapping[str, Any]) -> list[Path]:
    """The models of other runs that a configuration names."""
    conf = config["frontend_conf"]
    paths = [(conf.get(place) or {}).get(key) for place, key in MODELS_OF_OTHERS]
    paths += [text.partition(":")[0] for text in config.get("init_param") or ()]
    return [Path(path) for path in paths if path]


def _variant_of_model(model: Path) -> str:
    """The variant of the run that trained a model, else the path."""
    config = model.parent / TRAIN_CONFIG
    return Spec(model.parent.name, read_yaml(config)).variant if config.exists() else str(model)


# --- configurations


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``, mapping by mapping. A ``mask_conf`` that names a method replaces the other one as a
    whole: its keys depend on the method."""
    merged = deepcopy(dict(base))
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        nested = nested and not (key == "mask_conf" and "method" in value)
        merged[key] = merge(merged[key], value) if nested else deepcopy(value)
    return merged


def merged_files(paths: Iterable[str | Path]) -> dict[str, Any]:
    """The content of YAML files, later ones on top of earlier ones."""
    merged: dict[str, Any] = {}
    for path in paths:
        merged = merge(merged, read_yaml(path))
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


def method_of(config: Mapping[str, Any]) -> Any:
    """The row of the table of methods for a configuration. Raises InputError for an unknown method."""
    from espnet_s3router.methods import METHODS, resolve

    mask_conf = config["frontend_conf"]["mask_conf"]
    return METHODS[mask_conf["method"] if mask_conf.get("method") in METHODS else resolve(mask_conf)[0]]


def removes_units(config: Mapping[str, Any]) -> bool:
    """True if a run with this configuration ends with a smaller model: by gates, or by masks on whole units."""
    from espnet_s3router.masks.ranking import SHARED

    return method_of(config).units or config["frontend_conf"]["mask_conf"].get("ranking") == SHARED


def sparsity_of(mask_conf: Mapping[str, Any]) -> float | None:
    """Sparsity of a method, also where ``keep`` is given instead. None for a method without one."""
    keep = mask_conf.get("keep")
    return mask_conf.get("sparsity") if keep is None else 1.0 - keep


def updates_of(config: Mapping[str, Any]) -> int | None:
    """Optimiser steps of a run; None if the configuration leaves their number to the data. Batches that are left over at the
    end of an epoch make no step."""
    if not config.get("max_epoch") or not config.get("num_iters_per_epoch"):
        return None
    return config["max_epoch"] * (config["num_iters_per_epoch"] // config.get("accum_grad", 1))


# --- the runs of a grid


def expand(
    base: Mapping[str, Any],
    methods: Mapping[str, Mapping[str, Any]],
    labels: Iterable[str],
    *,
    sparsities: Sequence[float] = (),
    lrs: Sequence[float] = (),
    seeds: Sequence[int] = (0,),
    prefix: str = "asr",
    assignments: Sequence[Assignment] = (),
    starts: Mapping[int, str] = MappingProxyType({}),
) -> list[Spec]:
    """The runs of a grid, methods outermost. ``labels``: rows of ``methods``. Without values the configured one holds.

    Sparsities apply to methods with masks, except where an N:M pattern or ``target_bytes`` sets the sparsity.
    ``assignments`` win over the rows.
    ``starts``: the dense model of each seed. It is the ``start`` of methods that have this option and do not set it, and the
    teacher of those that do not start from a model.

    Raises InputError for an unknown row, a value that a method refuses, or a run that occurs twice.
    """
    from espnet_s3router.masks.ranking import n_of_m

    specs = []
    for label in labels:
        if label not in methods:
            raise InputError(f"method {label!r} is not in the methods file, which has {', '.join(methods)}")
        config = merge(base, methods[label])
        for path, value in assignments:
            set_path(config, path, value)
        mask_conf = config["frontend_conf"]["mask_conf"]
        fixed = n_of_m(mask_conf.get("ranking")) is not None or mask_conf.get("target_bytes") is not None
        swept = method_of(config).sparse and not fixed
        for sparsity in sparsities if swept and sparsities else (None,):
            for lr in lrs or (None,):
                for seed in seeds:
                    specs.append(_specify(config, label, sparsity, lr, seed, prefix, starts.get(seed)))
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"the grid holds {twice[0]} twice: give every method, sparsity, rate and seed once")
    return specs


def _specify(
    config: dict[str, Any],
    label: str,
    sparsity: float | None,
    lr: float | None,
    seed: int,
    prefix: str,
    start: str | None,
) -> Spec:
    from espnet_s3router.methods import resolve

    config, row = deepcopy(config), method_of(config)
    options = row.config.__dataclass_fields__
    mask_conf = config["frontend_conf"]["mask_conf"]
    if sparsity is not None:
        mask_conf["sparsity"] = sparsity
    if lr is not None:
        config.setdefault("optim_conf", {})["lr"] = lr
    config["seed"] = seed
    if "seed" in options:  # scores are initialised with the seed of the run
        mask_conf["seed"] = seed
    if "start" in options and start is not None:
        mask_conf.setdefault("start", start)
    if isinstance(mask_conf.get("start"), str):
        mask_conf["start"] = mask_conf["start"].replace(SEED, str(seed))
    if config["frontend_conf"].get("distill") and not mask_conf.get("start") and start is not None:
        config["frontend_conf"]["distill"].setdefault("teacher", start)
    if "updates" in options and updates_of(config):  # ramps and rounds are laid out over them
        mask_conf.setdefault("updates", updates_of(config))
    method = resolve(mask_conf)[1]  # checks the values that the name is made of
    name = f"{prefix}_{label}"
    if row.masks and mask_conf.get("target_bytes") is not None:
        name += f"_b{mask_conf['target_bytes']}"
    elif row.sparse:
        name += f"_s{sparsity_of(mask_conf):g}"
    rate = config.get("optim_conf", {}).get("lr")
    plain, swept = f"{name}_seed{seed}", f"{name}_lr{rate:g}_seed{seed}" if isinstance(rate, int | float) else ""
    if config.get("scheduler") == "tristagelr_rounds" and "rounds" in options:
        config.setdefault("scheduler_conf", {}).setdefault("rounds", method.rounds)
    return Spec(plain, config, swept, label) if lr is None else Spec(swept, config, plain, label)


# --- experiment folders


def home(spec: Spec, expdir: str | Path) -> Path:
    """The experiment folder of a run; the folder of its alias if the same run was trained there."""
    other = Path(expdir, spec.alias or spec.name)
    if is_trained(other) and (other / TRAIN_CONFIG).read_text(encoding="utf-8") == spec.yaml:
        return other
    return Path(expdir, spec.name)


def store(spec: Spec, expdir: str | Path) -> Path:
    """Write the configuration of a run into its experiment folder and return the folder. Raises InputError if the folder
    holds a run of another configuration."""
    folder = home(spec, expdir)
    path = folder / TRAIN_CONFIG
    if path.exists() and path.read_text(encoding="utf-8") == spec.yaml:
        return folder
    if path.exists() and is_started(folder):
        raise InputError(
            f"{folder} holds another configuration of {spec.name} ({TRAIN_CONFIG}). Remove the folder to train anew, or "
            "keep both with --asr_tag"
        )
    write_atomic(path, spec.yaml)
    return folder
