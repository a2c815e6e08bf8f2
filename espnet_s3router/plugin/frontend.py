"""``MaskedUpstream``: ESPnet's s3prl frontend, in which the method of a run decides what is trained.

In a YAML file ``frontend: s3prl`` becomes ``frontend: masked_upstream``, with a ``mask_conf`` block. All else stays.
"""

import logging
from contextlib import nullcontext
from inspect import signature
from typing import Any

import torch
from espnet2.asr.frontend.s3prl import S3prlFrontend
from torch import Tensor, nn

from espnet_s3router.bfloat16 import use_bfloat16
from espnet_s3router.errors import InputError
from espnet_s3router.masks.recomputed_product import recomputed_products
from espnet_s3router.methods import Attached, attach, check_type, read_options, resolve, suggestion
from espnet_s3router.plugin.activation_checkpointing import checkpoint_layers
from espnet_s3router.plugin.checkpoint import SlimState
from espnet_s3router.plugin.distillation import DistillConfig
from espnet_s3router.plugin.extractor_cache import ExtractorCache
from espnet_s3router.plugin.latent_masking import LatentMasking, LatentOptions, add_layerdrop
from espnet_s3router.plugin.upstreams.build import build_upstream, load_upstream
from espnet_s3router.plugin.upstreams.dropouts import Dropouts, set_dropouts
from espnet_s3router.plugin.upstreams.source import SOURCE_KEYS, located
from espnet_s3router.upstreams import family_of

FRONTEND_NAME = "masked_upstream"
DROPOUT = ("off", "upstream")
AUTOCAST = (None, "bfloat16", "auto")
DEFAULT = {"method": "routing", "sparsity": 0.08}
"""The method without ``mask_conf``: arXiv 2211.01522 found this sparsity best at ten minutes and at one hour."""


class MaskedUpstream(S3prlFrontend):
    """Waveform (batch, samples) at 16 kHz -> hidden states (batch, frames, dim) of an upstream with learned masks.

    Args:
        fs, frontend_conf, download_dir, multilayer_feature, layer: as in ESPnet's ``S3prlFrontend``; ``frontend_conf``
            takes ``upstream`` (an s3prl name or one of ours, such as ``s3router_hubert_mini``) and ``path_or_url``.
        mask_conf: the method and its options, see ``espnet_s3router.methods``; by default routing at sparsity 0.08.
        latent_masking: options of time and channel masking during training (see ``LatentOptions``); None for none.
        dropout: ``off`` keeps the upstream in evaluation mode during training; ``upstream`` uses its own dropouts.
        layerdrop: probability of skipping each Transformer layer during training.
        upstream_dropouts: probabilities of the upstream's dropouts (see ``Dropouts``); None for those of pretraining.
        cache_frozen: size in MiB of a cache for the output of the frozen convolutional frontend; 0 for none.
        recompute: activation checkpointing of the Transformer layers: less memory, about a third more time.
        autocast: ``bfloat16`` runs the upstream's matrix products in that type during training; scores and evaluation
            stay float32. ``auto`` does so on hardware that computes in bfloat16. It uses float32 where a convolution of
            the upstream is wrong in bfloat16, and ``bfloat16`` refuses there.
        distill: options of distillation from a dense model during training (see ``DistillConfig``); None for none.

    Raises:
        InputError: an option or an upstream cannot be used.
    """

    upstream: Any
    featurizer: Any

    def __init__(
        self,
        fs: int | str = 16000,
        frontend_conf: dict[str, Any] | None = None,
        download_dir: str | None = None,
        multilayer_feature: bool = False,
        layer: int = -1,
        mask_conf: dict[str, Any] | None = None,
        latent_masking: dict[str, Any] | None = None,
        dropout: str = "off",
        layerdrop: float = 0.0,
        upstream_dropouts: dict[str, Any] | None = None,
        cache_frozen: int = 0,
        recompute: bool = False,
        autocast: str | None = None,
        distill: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise InputError(unknown_key(min(unknown)))
        switches = {"multilayer_feature": multilayer_feature, "recompute": recompute}
        numbers = {"layer": layer, "layerdrop": layerdrop, "cache_frozen": cache_frozen}
        for name, value in (switches | numbers).items():
            check_type(name, OPTIONS[name].annotation, value, where="frontend_conf")
        if dropout not in DROPOUT:
            raise InputError(f"frontend_conf: dropout is {dropout!r}, expected one of {', '.join(DROPOUT)}")
        if autocast not in AUTOCAST:
            raise InputError(f"frontend_conf: autocast is {autocast!r}, expected bfloat16, auto or nothing")
        if upstream_dropouts and dropout == "off":
            raise InputError("frontend_conf: dropout is 'off', so upstream_dropouts would do nothing. Set dropout: upstream")
        mask_conf = mask_conf or DEFAULT
        resolve(mask_conf)  # check the options before a large upstream is loaded
        latent_options = read_options(LatentOptions, latent_masking or {}, "latent_masking")
        dropouts = read_options(Dropouts, upstream_dropouts or {}, "upstream_dropouts")
        distill_options = None if distill is None else read_options(DistillConfig, distill, "distill")
        nn.Module.__init__(self)  # S3prlFrontend.__init__ would keep a deep copy of all weights

        self.distill = distill_options
        source = located(frontend_conf or {})
        self.upstream, self.featurizer = build_upstream(
            source, fs=fs, download_dir=download_dir, layer=layer, multilayer_feature=multilayer_feature
        )
        self.source = source
        self.multilayer_feature = multilayer_feature
        self.layer = layer
        self.frontend_type = "s3prl"
        self.hop_length = self.featurizer.downsample_rate
        self.tile_factor = self.source.get("tile_factor", 1)
        self.featurizer.requires_grad_(multilayer_feature)  # DistributedDataParallel fails on unused weights

        self.dropout = dropout
        self.autocast = autocast
        self._bfloat16: dict[torch.device, bool] = {}
        self.mask_conf = dict(mask_conf)
        self.family = family_of(self.expert)
        self.slim = SlimState(self, str(self.source.get("upstream")))  # before the method changes the weights
        set_dropouts(self.expert, self.family, dropouts)
        self.attached: Attached = attach(self.expert, self.mask_conf)
        self.latent = LatentMasking(self.expert, self.family, lambda: self.training, latent_options)
        if latent_options.train_embedding:
            train_also(self.attached, str(self.family.mask_embedding))
        self.slim.keep(self, self.attached)
        if recompute:
            checkpoint_layers(self.expert, self.family)  # before layer drop, which must draw once per layer
        add_layerdrop(self.expert, self.family, lambda: self.training, layerdrop)
        self.cache = self._build_cache(cache_frozen)

    @property
    def expert(self) -> nn.Module:
        """The s3prl expert; the paths of families and methods are relative to it."""
        return self.upstream.upstream

    def _build_cache(self, megabytes: int) -> ExtractorCache | None:
        if not megabytes:
            return None
        extractor = self.expert.get_submodule(self.family.extractor)
        if any(parameter.requires_grad for parameter in extractor.parameters()):
            raise InputError(
                "frontend_conf: cache_frozen needs a frozen convolutional frontend, but the method trains or masks it. "
                "Set cache_frozen: 0, or leave conv out of targets and train_cnn"
            )
        if self.family.extractor_takes_lengths:
            raise InputError(
                f"frontend_conf: cache_frozen does not work with {self.family.name}-style upstreams: set it to 0"
            )
        return ExtractorCache(extractor, megabytes)

    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, frames, dim) and their lengths in frames; ``input`` (batch, samples), lengths in samples."""
        self.latent.lengths = input_lengths
        if self.cache is not None:
            self.cache.lengths = input_lengths
        half = self.training and self.trains_in_bfloat16(input.device)
        mixed = torch.autocast(input.device.type, torch.bfloat16) if half else nullcontext()
        learns = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.parameters())
        with mixed, recomputed_products() if learns else torch.no_grad():
            feats, lengths = super().forward(input, input_lengths)
        return feats.float(), lengths

    def trains_in_bfloat16(self, device: torch.device) -> bool:
        """True if training on ``device`` uses bfloat16, by the option ``autocast``; InputError if it is wrong there."""
        if device not in self._bfloat16:
            requested = None if self.autocast == "auto" else self.autocast == "bfloat16"
            option = "frontend_conf: autocast is 'bfloat16'"
            self._bfloat16[device] = use_bfloat16(self.expert, device, requested, option)
        return self._bfloat16[device]

    def train(self, mode: bool = True) -> "MaskedUpstream":
        """Keeps the upstream's dropout off: ESPnet calls ``train()`` in every epoch.

        Batch norms keep their statistics in any case, for these belong to the base as its weights do.
        """
        super().train(mode)
        if self.dropout == "off":
            self.upstream.eval()
        for module in self.upstream.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    @torch.no_grad()
    def reload_pretrained_parameters(self) -> None:
        """Load the upstream and the method's initial state again: ESPnet's option ``init`` overwrites every parameter."""
        fresh: Any = load_upstream(self.source)
        attach(fresh.upstream, self.mask_conf)
        self.upstream.load_state_dict(fresh.state_dict(), strict=True)
        if hasattr(self.featurizer, "weights"):
            self.featurizer.weights.zero_()  # equal weights after the softmax, as in s3prl
        logging.info(f"init: restored the weights and the initial scores of {self.source.get('upstream')}")


def train_also(attached: Attached, name: str) -> None:
    """Train a further parameter of the upstream, in place. A finetuned model (option ``start``) has trained it too."""
    parameter = attached.upstream.get_parameter(name)
    parameter.requires_grad_(True)
    attached.trained[name] = parameter
    if attached.startable:
        attached.startable[name] = parameter


OPTIONS = {name: option for name, option in signature(MaskedUpstream).parameters.items() if name != "unknown"}


def unknown_key(key: str) -> str:
    """The error message for an option that ``frontend_conf`` does not have."""
    hint = f" {key} belongs into the frontend_conf within it." if key in SOURCE_KEYS else suggestion(key, OPTIONS)
    return f"frontend_conf: key {key!r} is unknown, expected some of {', '.join(OPTIONS)}.{hint}"
