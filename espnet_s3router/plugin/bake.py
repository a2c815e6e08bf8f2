"""Baking an experiment: W * M as plain weights in a model that stock ESPnet loads, without this plugin."""

import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from espnet2.asr.frontend.s3prl import S3prlFrontend
from torch import nn

from espnet_s3router.errors import InputError
from espnet_s3router.masks import MaskedTensor, bake
from espnet_s3router.methods.houlsby import Bottleneck
from espnet_s3router.methods.lora import LowRank
from espnet_s3router.plugin.register import S3PRL_ENTRIES
from espnet_s3router.plugin.training.task import S3RouterASRTask, S3RouterSLUTask
from espnet_s3router.plugin.upstreams.build import reason, resolve_source
from espnet_s3router.upstreams import EMBEDDED

TASKS = {"asr": S3RouterASRTask, "slu": S3RouterSLUTask}
_PLAIN = ("fs", "frontend_conf", "download_dir", "multilayer_feature", "layer")


def bake_experiment(train_config: str | Path, model_file: str | Path, out: str | Path, *, task: str = "asr") -> Path:
    """Write ``out``/{config.yaml,model.pth} (and a shipped upstream's folder) for stock ESPnet; returns ``out``.

    The outputs of both models are equal bit for bit in float32. InputError when ``out`` exists, when stock ESPnet does not
    know the upstream, or when the method added modules that a plain upstream does not have.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists already: remove it or choose another folder")
    for path in (train_config, model_file):
        if not Path(path).is_file():
            raise InputError(f"{path}: there is no such file; give the config.yaml and the .pth of a finished experiment")
    out = out.resolve()  # what config.yaml says of a shipped upstream must hold wherever it is decoded from
    model, args = load_experiment(Path(train_config), Path(model_file), task)
    if args.frontend != "masked_upstream":
        raise InputError(f"{train_config}: frontend is {args.frontend}, expected masked_upstream")
    name = args.frontend_conf["frontend_conf"].get("upstream")
    if name in S3PRL_ENTRIES:
        raise InputError(
            f"{train_config}: its upstream {name} comes with this package and is unknown to ESPnet and s3prl, so a baked "
            f"model would need this package too: nothing was baked. Decode {model_file} as it is, with "
            f"python -m espnet_s3router.bin.{task}_inference"
        )
    plain = plain_frontend_conf(args.frontend_conf, out)
    if name not in EMBEDDED:
        refuse_unloadable(plain, train_config)
    bake_upstream(model.frontend.expert)
    config = vars(args) | {"frontend": "s3prl", "frontend_conf": plain}
    config["init"] = None  # the weights are complete; nothing is to be initialised (stock ESPnet reads the key)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if name in EMBEDDED:
        shutil.copytree(EMBEDDED[name][1], partial / name)
    (partial / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    torch.save(dense_model_state(model), partial / "model.pth")
    partial.rename(out)
    return out


def load_experiment(train_config: Path, model_file: Path, task: str) -> tuple[nn.Module, Any]:
    """The model of a finished experiment with its options; InputError for files that are none."""
    try:
        config = yaml.safe_load(train_config.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not isinstance(config.get("token_list"), list):
            raise InputError(
                f"{train_config} holds no token_list: expected the config.yaml that training wrote, not its template"
            )
        return TASKS[task].build_model_from_file(str(train_config), str(model_file), "cpu")
    except InputError:
        raise
    except Exception as error:  # of YAML, pickle or ESPnet, whatever these files are
        raise InputError(
            f"{model_file} could not be loaded with {train_config}: {reason(error)}. Expected the config.yaml and a "
            f"model file of one finished experiment of the task {task}"
        ) from error


def refuse_unloadable(plain: dict[str, Any], train_config: str | Path) -> None:
    """InputError when stock ESPnet cannot use the upstream: transformers 5 loads a checkpoint in the type that its
    configuration names, and s3prl gives it float32 audio."""
    source = plain["frontend_conf"]
    if source["upstream"].startswith("hf_"):
        try:
            S3prlFrontend(**plain)
        except Exception as error:  # whatever a foreign loader raises
            raise InputError(
                f"{train_config}: stock ESPnet cannot use its upstream {source['path_or_url']}: {reason(error)}. Nothing "
                "was baked. If its weights are in half precision, save a copy with from_pretrained(…, dtype=torch.float32) "
                "and save_pretrained of transformers, and name that as path_or_url"
            ) from error


def bake_upstream(expert: nn.Module) -> None:
    """Write masks and low-rank updates into the plain weights of an s3prl expert, in place."""
    if any(isinstance(module, Bottleneck) for module in expert.modules()):
        raise InputError("houlsby adapters are modules of their own: a plain upstream cannot hold them, nothing was baked")
    expert.eval()
    bake(expert, (MaskedTensor, LowRank))


def plain_frontend_conf(conf: dict[str, Any], out: Path) -> dict[str, Any]:
    """``frontend_conf`` of ESPnet's S3prlFrontend; a shipped upstream is referred to in the folder ``out``."""
    plain = {key: value for key, value in conf.items() if key in _PLAIN}
    source = dict(plain["frontend_conf"])
    name, path, _ = resolve_source(source)
    if source.get("upstream") in EMBEDDED:
        path = str(out / source["upstream"])
    source["upstream"] = name
    if path is not None:
        source["path_or_url"] = str(Path(path).resolve()) if Path(path).exists() else path
    return plain | {"frontend_conf": source}


def dense_model_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """State dict of the whole model under stock ESPnet's names, frozen weights included."""
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("frontend.")}
    for child in ("upstream", "featurizer"):
        state |= getattr(model.frontend, child).state_dict(prefix=f"frontend.{child}.")  # type: ignore[union-attr]
    return {key: value.detach().clone() for key, value in state.items()}
