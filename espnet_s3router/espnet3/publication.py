"""Publication in espnet3: the best model of a training run as a pack of this package, and its upload.

espnet3's own stages copy the whole folder of the run, the code of the recipe, and paths of this machine.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.espnet3.dataset import KaldiDataset
from espnet_s3router.files import read_yaml
from espnet_s3router.plugin.deployment.route import write_experiment
from espnet_s3router.zoo.experiment import pack_model
from espnet_s3router.zoo.routes import pack_routes
from espnet_s3router.zoo.upload import Upload, upload
from espnet_s3router.zoo.write import Packed

ROUTES = "routes"
KINDS = (ROUTES, "baked", "experiment")
CHECKED = 2
"""Recordings of the validation set that a pack must transcribe."""


def pack_run(training: Any, settings: Any) -> Packed:
    """Pack the model ``settings.model_file`` of the run ``training.exp_dir`` into ``settings.out_dir``.

    ``settings`` is ``pack_model`` of publication.yaml: also ``kind``, ``allow_overwrite``, ``facts`` for the card, ``base``
    (of routes) and ``base_licence``. Raises InputError for another kind, a missing file, and a folder that exists.
    """
    exp, out = Path(training.exp_dir), Path(settings.out_dir)
    model_file = exp / settings.model_file
    if settings.kind not in KINDS:
        raise InputError(f"pack_model.kind is {settings.kind!r}, expected one of {', '.join(KINDS)}")
    if not model_file.is_file():
        raise InputError(f"pack_model.model_file: there is no {model_file}. Run the stage train, or name a model of {exp}")
    if out.exists() and not settings.get("allow_overwrite", False):
        raise InputError(f"{out} exists already: set pack_model.allow_overwrite: true, or another out_dir")
    facts = {**settings.get("facts", {}), "metrics": metrics(Path(settings.inference_dir))}
    shown: Any = {"base_licence": settings.get("base_licence", ""), "waves": recordings(training)}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(yaml.safe_dump(with_tokens(read_yaml(exp / "config.yaml"), Path(training.recipe_dir))), "utf-8")
        if settings.kind != ROUTES:
            decoding = {"ctc_best_path": True}
            return pack_model(config, model_file, out, kind=settings.kind, facts=facts, decoding=decoding, **shown)
        route = Path(folder, f"{facts.get('language') or 'model'}.route")
        write_experiment(config, model_file, route, metadata={key: value for key, value in facts.items() if value})
        return pack_routes([route], out, base=settings.get("base", "auto"), **shown)


def upload_run(settings: Any, pack: str | Path) -> Upload:
    """Upload a pack as ``settings`` say: ``upload_model`` of publication.yaml, with the options of ``zoo.upload``."""
    options = {name: settings.get(name, False) for name in ("private", "update", "dry_run")}
    return upload(pack, settings.hf_repo, revision=settings.get("revision") or "", **options)


def with_tokens(config: Mapping[str, Any], recipe: Path) -> dict[str, Any]:
    """``config`` of a run with its tokens, where espnet3 names their file relative to the folder of the recipe."""
    tokens = config.get("token_list")
    if not isinstance(tokens, str):
        return dict(config)
    if not (recipe / tokens).is_file():
        raise InputError(f"token_list is {tokens}, and there is no such file in {recipe}. Run the stage train_tokenizer")
    return {**config, "token_list": (recipe / tokens).read_text(encoding="utf-8").split("\n")[:-1]}


def metrics(folder: Path) -> dict[str, float]:
    """Error rates in percent that the stage measure wrote, such as ``test_en_cer``; empty if it was not run."""
    path = folder / "metrics.json"
    scored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sets = [(name, rates) for measure in scored.values() for name, rates in measure.items()]
    return {f"{name}_{rate.lower()}": float(value) for name, rates in sets for rate, value in rates.items()}


def recordings(training: Any) -> list[Tensor]:
    """The first recordings of the first validation set, samples (samples,) at 16 kHz."""
    data = KaldiDataset(**training.dataset.valid[0].data_src_args)
    return [torch.from_numpy(data[number]["speech"]) for number in range(min(CHECKED, len(data)))]
