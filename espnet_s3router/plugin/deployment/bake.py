"""Baking an experiment: W * M becomes plain weights, in a model that stock ESPnet loads without this plugin."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from espnet2.asr.frontend.s3prl import S3prlFrontend
from torch import Tensor, nn

from espnet_s3router.errors import InputError, summary
from espnet_s3router.files import replacing_dir
from espnet_s3router.masks import LanguageTensor, MaskedTensor, bake
from espnet_s3router.methods import METHODS
from espnet_s3router.methods.adapters.bitdelta import SignDelta
from espnet_s3router.methods.adapters.houlsby import Bottleneck
from espnet_s3router.methods.adapters.lora import LowRank
from espnet_s3router.methods.adapters.mms_adapter import LayerAdapter
from espnet_s3router.plugin.checkpoint import FRONTEND_KEYS
from espnet_s3router.plugin.frontend import FRONTEND_NAME
from espnet_s3router.plugin.masked_hugging_face import POSTENCODER_NAME
from espnet_s3router.plugin.register import S3PRL_ENTRIES
from espnet_s3router.plugin.training.task import S3RouterASRTask, S3RouterSLUTask
from espnet_s3router.plugin.upstreams.source import opening, resolve_source
from espnet_s3router.progress import progress
from espnet_s3router.upstreams import EMBEDDED

TASKS: dict[str, Any] = {"asr": S3RouterASRTask, "slu": S3RouterSLUTask}
_STOCK_OPTIONS = ("fs", "frontend_conf", "download_dir", "multilayer_feature", "layer")


class NotBakeable(InputError):
    """Stock ESPnet has no place for the upstream of an experiment, or for what its method added."""


def bake_experiment(
    train_config: str | Path, model_file: str | Path, out: str | Path, *, task: str = "asr", waves: Sequence[Tensor] = ()
) -> Path:
    """Write ``out``/{config.yaml,model.pth} (and the folder of a shipped upstream) for stock ESPnet; returns ``out``.

    Both models give the same outputs, bit for bit in float32. They are compared on ``waves``, audio (samples,) at the rate
    of the frontend, before ``out`` is put in place. Raises InputError when ``out`` exists and when outputs differ,
    NotBakeable when stock ESPnet does not know the upstream or a plain upstream lacks modules that the method added.
    """
    out = Path(out)
    check_files(train_config, model_file, out)
    out = out.resolve()  # config.yaml names the folder of a shipped upstream, for decoding from any directory
    model, args = load_experiment(Path(train_config), Path(model_file), task)
    if args.frontend != FRONTEND_NAME:
        raise InputError(f"{train_config}: frontend is {args.frontend}, expected {FRONTEND_NAME}")
    name = args.frontend_conf["frontend_conf"].get("upstream")
    if name in S3PRL_ENTRIES:
        raise NotBakeable(
            f"{train_config}: its upstream {name} comes with this package. ESPnet and s3prl do not know it, so a baked "
            f"model would need this package too: nothing was baked. Decode {model_file} as it is, with "
            f"python -m espnet_s3router.bin.{task}_inference"
        )
    if METHODS[model.frontend.attached.method].units or "shrunk" in model.frontend.source:
        raise NotBakeable(
            f"{train_config}: stock ESPnet builds every upstream in its pretrained size, so it cannot load one with removed "
            f"units: nothing was baked. Shrink a run with closed units with s3router shrink, and decode it with "
            f"python -m espnet_s3router.bin.{task}_inference"
        )
    if POSTENCODER_NAME in (getattr(args, "postencoder", None), getattr(args, "deliberationencoder", None)):
        raise NotBakeable(
            f"{train_config}: ESPnet does not know {POSTENCODER_NAME}, so nothing was baked. Decode it as it is"
        )
    frontend_conf = stock_frontend_conf(args.frontend_conf, out)
    if name not in EMBEDDED:
        check_stock_frontend(frontend_conf, train_config)
    expected = [outputs(model, wave) for wave in waves]
    bake_upstream(model.frontend.expert)
    config = vars(args) | {"frontend": "s3prl", "frontend_conf": frontend_conf}
    config["init"] = None  # stock ESPnet reads this key; the weights are complete and need no initialisation
    with replacing_dir(out) as folder:
        if name in EMBEDDED:
            shutil.copytree(EMBEDDED[name][1], folder / name)
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
        torch.save(stock_state(model), folder / "model.pth")
        if waves:
            config["frontend_conf"] = stock_frontend_conf(args.frontend_conf, folder)  # a shipped upstream lies there yet
            check_outputs(load_stock(config, folder / "model.pth", task), waves, expected, f"{out}: was not baked")
    return out


def check_files(train_config: str | Path, model_file: str | Path, out: Path) -> None:
    """Raises InputError if the folder ``out`` exists, or a file of the experiment does not."""
    if out.exists():
        raise InputError(f"{out} exists already: remove it or choose another folder")
    for path in (train_config, model_file):
        if not Path(path).is_file():
            raise InputError(f"{path}: there is no such file; give the config.yaml and the .pth of a finished experiment")


def load_stock(config: dict[str, Any], model_file: Path, task: str) -> Any:
    """The model of a baked experiment, as stock ESPnet builds it.

    The file may lack tensors of the upstream, which are then those of its folder. ESPnet accepts any other difference, too;
    here it raises RuntimeError.
    """
    model = TASKS[task].build_model(argparse.Namespace(**config))
    state = torch.load(model_file, map_location="cpu", weights_only=True)
    inside = {key: tensor for key, tensor in model.state_dict().items() if key.startswith(f"{FRONTEND_KEYS}upstream.")}
    model.load_state_dict(inside | state)
    return model


@torch.no_grad()
def outputs(model: Any, wave: Tensor) -> Tensor:
    """Log probabilities (frames, tokens) of the CTC head for audio (samples,); the encoder's output if there is none."""
    model.eval()
    hidden, _ = model.encode(wave[None], torch.tensor([len(wave)]))
    return (hidden if getattr(model, "ctc", None) is None else model.ctc.log_softmax(hidden))[0]


def check_outputs(model: Any, waves: Sequence[Tensor], expected: Sequence[Tensor], failure: str) -> None:
    """InputError that begins with ``failure`` unless ``model`` gives the ``expected`` outputs of each audio, bit for bit."""
    for wave, values in progress(list(zip(waves, expected, strict=True)), "written model", "recording"):
        if not torch.equal(outputs(model, wave), values):
            raise InputError(f"{failure}: a model from it gives other outputs than the trained model")


def load_experiment(train_config: Path, model_file: Path, task: str) -> tuple[Any, Any]:
    """The model of a finished experiment and its ESPnet arguments; InputError for other files."""
    try:
        config = yaml.safe_load(train_config.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not isinstance(config.get("token_list"), list):
            raise InputError(
                f"{train_config} holds no token_list: expected the config.yaml that training wrote, not its template"
            )
        with opening(train_config):
            return TASKS[task].build_model_from_file(str(train_config), str(model_file), "cpu")
    except InputError:
        raise
    except Exception as error:  # YAML, pickle and ESPnet raise many types on foreign files
        raise InputError(
            f"{model_file} could not be loaded with {train_config}: {summary(error)}. Expected the config.yaml and a "
            f"model file of one finished experiment of the task {task}"
        ) from error


def check_stock_frontend(frontend_conf: dict[str, Any], train_config: str | Path) -> None:
    """NotBakeable when stock ESPnet cannot use the upstream: s3prl passes float32 audio to half-precision models, too."""
    source = frontend_conf["frontend_conf"]
    if not source["upstream"].startswith("hf_"):
        return
    try:
        S3prlFrontend(**frontend_conf)
    except Exception as error:  # other libraries raise many types
        raise NotBakeable(
            f"{train_config}: stock ESPnet cannot use its upstream {source['path_or_url']}: {summary(error)}. Nothing was "
            "baked. If its weights are in half precision, save a copy with from_pretrained(…, dtype=torch.float32) and "
            "save_pretrained of transformers, and set path_or_url to that copy"
        ) from error


def bake_upstream(expert: nn.Module) -> None:
    """Write masks, low-rank updates and scaled signs into the plain weights of an s3prl expert, in place."""
    for kind, method in ((Bottleneck, "houlsby"), (LayerAdapter, "mms_adapter")):
        if any(isinstance(module, kind) for module in expert.modules()):
            raise NotBakeable(f"{method} adapters are modules that a plain upstream does not have: nothing was baked")
    if any(isinstance(module, LanguageTensor) for module in expert.modules()):
        raise NotBakeable("the model has masks of several languages: write one with s3router language, and bake that one")
    expert.eval()
    bake(expert, (MaskedTensor, LowRank, SignDelta))


def stock_frontend_conf(conf: dict[str, Any], out: Path) -> dict[str, Any]:
    """``frontend_conf`` of ESPnet's S3prlFrontend; a shipped upstream is expected in the folder ``out``."""
    source = dict(conf["frontend_conf"])
    name, path, _ = resolve_source(source)
    if source.get("upstream") in EMBEDDED:
        path = str(out / source["upstream"])
    source["upstream"] = name
    if path is not None:
        source["path_or_url"] = str(Path(path).resolve()) if Path(path).exists() else path
    return {key: value for key, value in conf.items() if key in _STOCK_OPTIONS} | {"frontend_conf": source}


def stock_state(model: Any) -> dict[str, torch.Tensor]:
    """The state dict of the whole model under stock ESPnet's names, frozen weights included."""
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(FRONTEND_KEYS)}
    for child in ("upstream", "featurizer"):
        state |= getattr(model.frontend, child).state_dict(prefix=f"{FRONTEND_KEYS}{child}.")
    return {key: value.detach().clone() for key, value in state.items()}
