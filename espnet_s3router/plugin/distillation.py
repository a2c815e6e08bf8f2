"""Knowledge distillation: a student of any method also learns from a dense teacher's CTC posteriors and hidden states."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.model_file import check_finished


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """The options ``frontend_conf: distill``."""

    weight: float
    """Factor of the distillation loss; the task's own loss has factor 1. Both are sums over the frames of an utterance,
    averaged over utterances."""
    temperature: float = 1.0
    """Divides the logits of both models; the loss is multiplied by its square (Hinton et al., arXiv 1503.02531 sec. 2)."""
    layers: tuple[int, ...] = ()
    """Hidden states (0 is the input of the first Transformer layer) whose squared difference is added: a mean over units and
    over these layers."""
    teacher: str | None = None
    """Model file of a run, with its config.yaml beside it. By default the ``start`` of the method."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        for name in ("weight", "temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"distill: {name} is {getattr(self, name)!r}, expected a number above 0")
        for layer in self.layers:
            if not isinstance(layer, int) or isinstance(layer, bool) or layer < 0:
                raise InputError(f"distill: layers hold {layer!r}, expected whole numbers from 0")


class Distillation:
    """Adds the distillation loss to the result of ``student.forward`` during training.

    The teacher is not part of the student: it is neither saved nor counted nor trained.
    """

    def __init__(self, student: Any, teacher: Any, config: DistillConfig) -> None:
        self.student, self.config = student, config
        self.teacher = teacher.eval().requires_grad_(False)
        self._outputs: dict[str, Any] = {}
        for name, model in (("student states", student), ("teacher states", teacher)):
            model.frontend.upstream.register_forward_hook(partial(self._remember, name))
        student.ctc.ctc_lo.register_forward_hook(partial(self._remember, "logits"))
        student.forward = partial(self._forward, student.forward)

    def _remember(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self._outputs.setdefault(name, output)  # ESPnet computes the last layer's loss first, then intermediate ones

    def _forward(self, forward: Callable[..., Any], *args: Any, **batch: Any) -> tuple[Tensor, dict[str, Any], Tensor]:
        loss, stats, weight = forward(*args, **batch)
        if self.student.training:
            added = self.config.weight * self.loss(batch["speech"], batch["speech_lengths"])
            loss = loss + added
            stats |= {"loss_distill": added.detach(), "loss": stats["loss"] + added.detach()}
        self._outputs.clear()
        return loss, stats, weight

    def loss(self, speech: Tensor, lengths: Tensor) -> Tensor:
        """Scalar loss of the batch that the student has just processed; ``speech`` (batch, samples)."""
        with torch.no_grad():
            encoded, frames = self.teacher.encode(speech, lengths)
            if isinstance(encoded, tuple):  # followed by the layers that have their own CTC loss
                encoded = encoded[0]
            logits = self.teacher.ctc.ctc_lo(encoded)
        loss = posterior_loss(self._outputs["logits"], logits, frames, self.config.temperature)
        student, teacher = self._outputs["student states"], self._outputs["teacher states"]
        for layer in self.config.layers:
            loss = loss + hidden_loss(student[0][layer], teacher[0][layer], teacher[1][layer]) / len(self.config.layers)
        return loss


def posterior_loss(student: Tensor, teacher: Tensor, frames: Tensor, temperature: float) -> Tensor:
    """temperature² * KL(teacher || student), summed over an utterance's frames, averaged over utterances like ESPnet's CTC
    loss; logits (batch, frames, tokens), ``frames`` (batch,)."""
    check_same_shape(student, teacher)
    log_student, log_teacher = ((logits.float() / temperature).log_softmax(-1) for logits in (student, teacher))
    divergence = functional.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(-1)  # (batch, frames)
    return temperature**2 * divergence[valid(frames, divergence.shape[1])].sum() / len(frames)


def hidden_loss(student: Tensor, teacher: Tensor, frames: Tensor) -> Tensor:
    """Squared difference of hidden states (batch, frames, dim): the mean over units, summed over frames without padding,
    averaged over utterances."""
    check_same_shape(student, teacher)
    inside = valid(frames, student.shape[1])
    squared = functional.mse_loss(student[inside].float(), teacher[inside].float(), reduction="none")
    return squared.mean(-1).sum() / len(frames)


def valid(frames: Tensor, longest: int) -> Tensor:
    """Boolean (batch, longest), False on padding."""
    return torch.arange(longest, device=frames.device)[None] < frames[:, None]


def check_same_shape(student: Tensor, teacher: Tensor) -> None:
    """InputError when student and teacher differ in their frames, tokens or units."""
    if student.shape != teacher.shape:
        shapes = f"the teacher gives shape {tuple(teacher.shape)}, the student {tuple(student.shape)}"
        raise InputError(f"distill: {shapes}: choose another teacher")


def install_distillation(task: Any, model: Any) -> None:
    """Connect ``model`` to the teacher that ``distill`` names, if it is set; InputError for an unusable teacher."""
    config: DistillConfig | None = model.frontend.distill
    if config is None:
        return
    path = config.teacher or model.frontend.attached.config.get("start")
    if path is None:
        raise InputError("distill: teacher is None, expected a model file (.pth), or a method with start")
    if getattr(model, "ctc", None) is None:
        raise InputError("distill: the model has no CTC head, whose posteriors would be compared")
    check_finished(path, "distill: teacher")
    if getattr(model, "postdecoder", None) is not None:
        raise InputError(
            "distill: the model has a postdecoder, but the teacher does not receive its transcripts: remove one of them"
        )
    if getattr(model.encoder, "interctc_use_conditioning", False):
        raise InputError("distill: interctc_use_conditioning uses the CTC head within the encoder: remove one of them")
    config_file = Path(path).with_name("config.yaml")
    if not config_file.is_file():
        raise InputError(f"distill: teacher is {path!r}, and there is no config.yaml beside it")
    teacher, _ = task.build_model_from_file(config_file, path, str(next(model.parameters()).device))
    if list(teacher.token_list) != list(model.token_list):
        raise InputError(f"distill: teacher: {path} has other tokens than this run")
    states = min(each.frontend.upstream.num_layers for each in (model, teacher))
    if config.layers and max(config.layers) >= states:
        raise InputError(
            f"distill: layers hold {max(config.layers)}, but the upstreams have hidden states 0 to {states - 1}"
        )
    Distillation(model, teacher, config)
    logging.info(f"distill: {path}")
