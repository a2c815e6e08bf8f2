"""The recipes that claim a paper's training have the settings of its authors.

The values are those of the configurations in the authors' code. S3-Router: ``wav2vec/config/finetuning/base_*.yaml``,
``hubert/config/finetune/base_*.yaml`` and ``wav2vec/xlsr/config/finetune.yaml`` of its examples, with the overrides of its
README. PARP: ``finetune_oneshot_permanent-seed.sh``.
"""

import math
from dataclasses import dataclass

import pytest

from espnet_s3router.experiments.grid import specs_of
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.specification import updates_of
from espnet_s3router.files import read_yaml
from espnet_s3router.methods import resolve
from tests.recipes.conftest import ROOT

EGS = ROOT / "egs2/s3router"
UPSTREAMS = {"wav2vec2": "wav2vec2_base", "hubert": "hubert_base"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is trained; defaults are what all of them share."""

    updates: int
    time_prob: float
    channel_prob: float
    layerdrop: float = 0.1
    transformer: float = 0.0
    attention: float = 0.0
    lr: float = 5e-5
    activation: float = 0.1
    input: float = 0.0
    final: float = 0.0
    time_length: int = 10
    channel_length: int = 64
    betas: tuple[float, ...] = (0.9, 0.98)
    eps: float = 1e-8
    ratios: tuple[float, ...] = (0.1, 0.4, 0.5)
    init_scale: float = 0.01
    final_scale: float = 0.05
    """Of S3-Router's weights; its masks end at 1e-4. Our arms have one value."""
    clip: float = math.inf
    """fairseq's clip_norm 0: gradients are not clipped."""
    seconds: float = 600.0
    """Audio of an update at most: 1.2 M samples on each of two GPUs, four times."""


PAPERS = {
    ("S3-Router", "wav2vec2", "10min"): Settings(
        updates=13000, time_prob=0.65, channel_prob=0.25, transformer=0.1, attention=0.1
    ),
    ("S3-Router", "wav2vec2", "1h"): Settings(
        updates=15000, time_prob=0.65, channel_prob=0.25, transformer=0.1, attention=0.1
    ),
    ("S3-Router", "wav2vec2", "10h"): Settings(
        updates=20000, time_prob=0.65, channel_prob=0.5, layerdrop=0.05, transformer=0.1, attention=0.1
    ),
    ("S3-Router", "wav2vec2", "100h"): Settings(updates=80000, time_prob=0.65, channel_prob=0.5, lr=3e-5),
    ("S3-Router", "hubert", "10min"): Settings(updates=13000, time_prob=0.75, channel_prob=0.5),
    ("S3-Router", "hubert", "1h"): Settings(updates=15000, time_prob=0.75, channel_prob=0.5),
    ("S3-Router", "hubert", "10h"): Settings(updates=20000, time_prob=0.75, channel_prob=0.5),
    ("S3-Router", "xls_r_300m", "CommonVoice"): Settings(updates=13000, time_prob=0.75, channel_prob=0.25),
    ("S3-Router", "xlsr_53", "CommonVoice"): Settings(updates=13000, time_prob=0.75, channel_prob=0.25),
    ("PARP", "wav2vec2", "10min"): Settings(
        updates=12000, time_prob=0.75, channel_prob=0.512, layerdrop=0.05, seconds=1600.0
    ),
    ("PARP", "wav2vec2", "1h"): Settings(updates=15000, time_prob=0.75, channel_prob=0.256, layerdrop=0.05, seconds=1600.0),
    ("PARP", "wav2vec2", "10h"): Settings(updates=20000, time_prob=0.65, channel_prob=0.256, layerdrop=0.05, seconds=1600.0),
}  # fmt: skip
PARP_INTERVALS = {"10min": 50, "1h": 50, "10h": 5}  # epochs
OF_S3_ROUTER = {"updates", "time_prob", "channel_prob", "layerdrop", "transformer", "attention", "seconds"}
"""Settings that PARP's row has from S3-Router: every pruning method starts from one dense model and trains alike."""


def settings_of(config):
    """The ``Settings`` of a resolved configuration."""
    frontend, schedule, optim = config["frontend_conf"], config["scheduler_conf"], config["optim_conf"]
    latent, dropouts = frontend["latent_masking"], frontend["upstream_dropouts"]
    assert frontend["dropout"] == "upstream" and config["optim"] == "adam" and "weight_decay" not in optim
    assert latent["spans"] == "reference" and latent["train_embedding"]
    assert schedule["max_steps"] == updates_of(config) and config["batch_type"] == "numel"
    return Settings(
        updates=schedule["max_steps"],
        seconds=config["batch_bins"] * config["accum_grad"] / 16000,
        layerdrop=frontend["layerdrop"],
        final=config["ctc_conf"]["dropout_rate"],
        clip=config["grad_clip"],
        lr=optim["lr"],
        betas=tuple(optim["betas"]),
        eps=optim["eps"],
        ratios=tuple(schedule[f"{phase}_ratio"] for phase in ("warmup", "hold", "decay")),
        init_scale=schedule["init_lr_scale"],
        final_scale=schedule["final_lr_scale"],
        **{name: latent[name] for name in ("time_prob", "time_length", "channel_prob", "channel_length")},
        **{name: dropouts[name] for name in ("input", "transformer", "attention", "activation")},
    )


def resolved(recipe, upstream, split, method):
    """The configuration of a method in a recipe."""
    conf = EGS / recipe / "conf"
    shared = EGS / "librispeech/conf"
    files = [conf / "train_asr.yaml"]
    if recipe.startswith("commonvoice"):
        files += [conf / f"upstream/{upstream}.yaml"]
    else:
        files += [shared / f"split/{split}.yaml", shared / f"upstream/{UPSTREAMS[upstream]}.yaml"]
    over = [conf / "methods.yaml", *([conf / f"interval/{split}.yaml"] if recipe.endswith("prune1") else [])]
    given = {"asr_config": tuple(map(str, files)), "methods_config": tuple(map(str, over)), "methods": (method,)}
    (spec,) = specs_of(Options(recipe="any", train_set="t", valid_set="v", test_sets=("v",), **given))
    return spec.config


@pytest.mark.parametrize("paper", [key for key in PAPERS if key[0] == "S3-Router" and key[1] in UPSTREAMS], ids=str)
def test_s3_router(paper):
    """Weight finetuning, routing and its pruning have the same settings."""
    for recipe, methods in (("librilight/asr1", ("finetune", "routing")), ("librispeech/prune1", ("finetune", "mpi"))):
        for method in methods:
            assert settings_of(resolved(recipe, *paper[1:], method)) == PAPERS[paper], (recipe, method)


@pytest.mark.parametrize("upstream", ["xls_r_300m", "xlsr_53"])
def test_s3_router_on_common_voice(upstream):
    """One hour of each language, on both upstreams, with the sparsity and the targets of the paper."""
    for method in ("finetune", "routing"):
        config = resolved("commonvoice/multi1", upstream, "CommonVoice", method)
        assert settings_of(config) == PAPERS["S3-Router", upstream, "CommonVoice"], method
        assert config["frontend_conf"]["frontend_conf"]["upstream"] == upstream
    method, options = resolve(config["frontend_conf"]["mask_conf"])
    assert (method, options.targets, options.init, options.sparsity) == ("routing", "feed_forward", "ori", 0.08)


@pytest.mark.parametrize("split", PARP_INTERVALS)
def test_parp(split):
    """Its own settings but for those of ``OF_S3_ROUTER``, and the interval of its code."""
    config = resolved("librispeech/prune1", "wav2vec2", split, "parp")
    theirs, baseline = PAPERS["PARP", "wav2vec2", split], PAPERS["S3-Router", "wav2vec2", split]
    for name, value in vars(settings_of(config)).items():
        assert value == getattr(baseline if name in OF_S3_ROUTER else theirs, name), name
    epoch = {"10min": 1, "1h": 6, "10h": 60}[split]  # updates of 600 s
    assert config["frontend_conf"]["mask_conf"]["interval"] == PARP_INTERVALS[split] * epoch


def test_recipes_that_claim_no_paper_clip():
    """The learning rates of asterisk/asr1 and asterisk/prune1 were chosen with gradients clipped at a norm of 5."""
    assert read_yaml(EGS / "asterisk/asr1/conf/train_asr.yaml")["grad_clip"] == 5.0
