"""Features for clustering: MFCCs in the first iteration, then hidden states of the model of the iteration before.

There is one vector every 20 ms, at the frames of the model's convolutions: frame t covers samples 320 t to 320 t + 400.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from espnet_s3router.bfloat16 import use_bfloat16
from espnet_s3router.errors import InputError
from espnet_s3router.pretraining.recordings import FS

STRIDE, FIELD = 320, 400  # samples
Extract = Callable[[np.ndarray], np.ndarray]
"""A function from a waveform (samples,) to features (frames, dim)."""


def frame_count(samples: int) -> int:
    """Return the number of frames that the convolutions make of ``samples``."""
    return max(0, (samples - FIELD) // STRIDE + 1)


def mfcc(waveform: np.ndarray) -> np.ndarray:
    """Map (samples,) to (frames, 39): 13 MFCCs with first and second differences (arXiv 2106.07447 sec. 4.2).

    They are computed every 10 ms, every other frame is kept, and the mean over the utterance is subtracted.
    """
    from torchaudio.compliance.kaldi import mfcc as kaldi_mfcc
    from torchaudio.functional import compute_deltas

    static = kaldi_mfcc(torch.from_numpy(waveform)[None], sample_frequency=FS, use_energy=False).T  # (13, 10 ms frames)
    delta = compute_deltas(static)
    stacked = torch.cat([static, delta, compute_deltas(delta)]).T[::2]  # (20 ms frames, 39)
    stacked = stacked[: frame_count(len(waveform))]
    return (stacked - stacked.mean(dim=0)).numpy()


def hidden_states(model_folder: Path, layer: int, device: str = "cpu") -> Extract:
    """Return a function that computes the output of Transformer layer ``layer`` (1 is the lowest) of an exported model."""
    from transformers import HubertModel

    model = HubertModel.from_pretrained(model_folder, dtype=torch.float32).eval().to(device)
    if not 1 <= layer <= model.config.num_hidden_layers:
        raise InputError(f"layer is {layer}, expected 1 to {model.config.num_hidden_layers}, the layers of {model_folder}")
    del model.encoder.layers[layer:]
    # The hook reads the output of the layer before the encoder's final layer norm.
    outputs: list[Tensor | tuple[Tensor, ...]] = []
    model.encoder.layers[-1].register_forward_hook(lambda module, args, output: outputs.append(output))

    half = use_bfloat16(model, torch.device(device), None, "autocast")

    @torch.inference_mode()
    def extract(waveform: np.ndarray) -> np.ndarray:
        outputs.clear()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            model(torch.from_numpy(waveform)[None].to(device))
        hidden = outputs[0] if isinstance(outputs[0], Tensor) else outputs[0][0]  # a tuple in older transformers
        return hidden[0].float().cpu().numpy()

    return extract
