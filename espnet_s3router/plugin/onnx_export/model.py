"""``WaveformCTC``: what is exported, from waveforms to the log probabilities of a CTC head."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espnet_s3router.plugin.onnx_export import NotExportable
from espnet_s3router.plugin.onnx_export.encoders import encoder_of
from espnet_s3router.plugin.onnx_export.layers import valid

NEVER = -1e4
"""Log probability of a token behind the end of an utterance, where the blank has 0."""


class WaveformCTC(nn.Module):
    """``input_values`` (batch, samples) and ``input_lengths`` (batch,) in samples -> ``logprobs`` (batch, frames, tokens).

    The model is taken apart: use ``model`` no more. Behind the end of an utterance the blank is certain. With ``open_head``
    the graph works with a head of any number of tokens instead, for utterances that are not padded.
    """

    silent: Tensor

    def __init__(self, model: Any, where: str, *, open_head: bool = False) -> None:
        """Raises NotExportable, which begins with ``where``, for a model that cannot be exported."""
        super().__init__()
        check_model(model, where)
        frontend = model.frontend
        self.encoder = encoder_of(frontend.expert, where)
        self.featurizer, self.ctc = frontend.featurizer, model.ctc
        self.layer, self.multilayer_feature = frontend.layer, frontend.multilayer_feature
        self.normalize_states = bool(frontend.upstream.normalize)
        self.open_head = open_head
        silent = torch.full((self.ctc.ctc_lo.out_features,), NEVER)
        silent[model.blank_id] = 0.0
        self.register_buffer("silent", silent, persistent=False)

    def forward(self, input_values: Tensor, input_lengths: Tensor) -> Tensor:
        states, frames = self.encoder(input_values, input_lengths)
        logprobs = self.ctc.log_softmax(self.combined(states))
        if self.open_head:
            return logprobs
        return torch.where(valid(frames, logprobs.shape[1])[..., None], logprobs, self.silent)

    def combined(self, states: list[Tensor]) -> Tensor:
        """The chosen hidden state, or the weighted sum of all: (batch, frames, dim)."""
        if self.normalize_states:
            states = [F.layer_norm(state, state.shape[-1:]) for state in states]
        if not self.multilayer_feature:
            return states[self.layer]
        weights = self.featurizer.weights.softmax(0)
        return sum((weight * state for weight, state in zip(weights, states)), torch.zeros(()))


def check_model(model: Any, where: str) -> None:
    """Raises NotExportable unless a CTC head lies on the upstream itself."""
    if getattr(model, "ctc", None) is None:
        raise NotExportable(
            f"{where}: the model has no CTC head. ONNX models are decoded by best path: train with ctc_weight"
        )
    for part in ("encoder", "postencoder", "preencoder", "normalize"):
        if getattr(model, part, None) is not None:
            raise NotExportable(
                f"{where}: the model has {part} {type(getattr(model, part)).__name__}. Only a CTC head directly on the "
                f"upstream can be exported to ONNX: train with {part}: null"
            )
    if model.frontend.tile_factor != 1:
        raise NotExportable(f"{where}: tile_factor is {model.frontend.tile_factor}, expected 1 for a model in ONNX")
