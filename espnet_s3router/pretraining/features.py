"""What is clustered: MFCCs for the first iteration, hidden states of the model before for the next ones.

One vector every 20 ms, at the frames of the model's convolutional frontend: frame t covers samples 320 t to 320 t + 400.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from espnet_s3router.errors import InputError
from espnet_s3router.pretraining.store import FS, Store

STRIDE, FIELD = 320, 400  # samples
Extract = Callable[[np.ndarray], np.ndarray]
"""Waveform (samples,) -> features (frames, dim)."""


def frame_count(samples: int) -> int:
    """Frames that the convolutional frontend makes of so many samples."""
    return max(0, (samples - FIELD) // STRIDE + 1)


def mfcc(waveform: np.ndarray) -> np.ndarray:
    """(samples,) -> (frames, 39): 13 MFCCs at 10 ms with first and second differences, every other frame of them; the mean
    over the utterance removed (arXiv 2106.07447 sec. 4.2)."""
    from torchaudio.compliance.kaldi import mfcc as kaldi_mfcc
    from torchaudio.functional import compute_deltas

    static = kaldi_mfcc(torch.from_numpy(waveform)[None], sample_frequency=FS, use_energy=False).T  # (13, 10 ms frames)
    delta = compute_deltas(static)
    stacked = torch.cat([static, delta, compute_deltas(delta)]).T[::2]  # (20 ms frames, 39)
    stacked = stacked[: frame_count(len(waveform))]
    return (stacked - stacked.mean(dim=0)).numpy()


def hidden_states(model_folder: Path, layer: int, device: str = "cpu") -> Extract:
    """Features from the output of Transformer layer ``layer`` (1 is the lowest) of an exported model."""
    from transformers import HubertModel

    model = HubertModel.from_pretrained(model_folder, dtype=torch.float32).eval().to(device)
    if not 1 <= layer <= model.config.num_hidden_layers:
        raise InputError(f"the model has layers 1 to {model.config.num_hidden_layers}, and layer {layer} was asked for")
    del model.encoder.layers[layer:]  # what lies above is not needed

    seen: list[Tensor] = []
    model.encoder.layers[-1].register_forward_hook(lambda module, args, output: seen.append(first(output)))

    half = device != "cpu" or torch.cpu._is_avx512_bf16_supported()

    @torch.inference_mode()
    def extract(waveform: np.ndarray) -> np.ndarray:
        seen.clear()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            model(torch.from_numpy(waveform)[None].to(device))
        return seen[0][0].float().cpu().numpy()

    return extract


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The hidden states of a layer's output, which is a tuple in some versions of transformers."""
    return output if isinstance(output, Tensor) else output[0]


def all_features(store: Store, extract: Extract, description: str) -> Iterator[np.ndarray]:
    """Features (frames, dim) of every utterance, in order."""
    for utterance in tqdm(store.utterances, desc=description, mininterval=10):
        yield extract(store.waveform(utterance))
