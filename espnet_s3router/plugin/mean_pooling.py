"""Encoder ``mean_pooling``: one vector for each utterance, for texts of one token such as an intent.

SUPERB classifies intents in this way (Yang et al. 2021, sec. 3): mean pooling, then a linear layer with cross-entropy.
ESPnet needs no other model for it. The CTC loss of one token in one frame is the cross-entropy of the tokens, and best-path
decoding gives the most probable one.
"""

from typing import Any

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from torch import Tensor, nn

from espnet_s3router.errors import InputError

ENCODER_NAME = "mean_pooling"


class MeanPooling(AbsEncoder):
    """Hidden states (batch, frames, input_size) -> a linear layer -> their mean over frames (batch, 1, output_size).

    ``output_size``: 256 in SUPERB.
    """

    def __init__(self, input_size: int, output_size: int = 256) -> None:
        super().__init__()
        if output_size < 1:
            raise InputError(f"encoder_conf: output_size is {output_size}, expected at least 1")
        self.projector = nn.Linear(input_size, output_size)

    def output_size(self) -> int:
        """Dimension of the vector."""
        return self.projector.out_features

    def forward(self, xs_pad: Tensor, ilens: Tensor, prev_states: Any = None) -> tuple[Tensor, Tensor, None]:
        """(vectors (batch, 1, output_size), their number (batch,)). ``ilens`` (batch,): frames that are no padding."""
        frames = torch.arange(xs_pad.shape[1], device=xs_pad.device)
        inside = (frames < ilens[:, None]).unsqueeze(-1)  # (batch, frames, 1)
        total = (self.projector(xs_pad) * inside).sum(dim=1, keepdim=True)  # (batch, 1, output_size)
        return total / ilens.clamp(min=1).view(-1, 1, 1), torch.ones_like(ilens), None
