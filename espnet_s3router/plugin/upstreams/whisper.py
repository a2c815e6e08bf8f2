"""``hf_whisper_custom``: Whisper encoders from Hugging Face directories, as an upstream that s3prl finds in its hub.

The directory holds config.json, preprocessor_config.json and model.safetensors, of a whole Whisper or of its encoder alone;
an id of the Hugging Face hub works too. Weights may be half precision: the upstream is float32.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError
from espnet_s3router.plugin.upstreams.build import reason, refuse_missing
from espnet_s3router.plugin.upstreams.whisper_encoder import HOP, STRIDE, LogMel, Whisper

FILES = ("*.json", "model.safetensors", "model-*-of-*.safetensors")
EXPECTED = "Expected a Hugging Face directory of a Whisper: config.json, preprocessor_config.json, model.safetensors"


class UpstreamExpert(nn.Module):
    """What s3prl calls: a list of waveforms (samples,) -> hidden states (batch, frames, dim), 50 frames a second."""

    def __init__(self, ckpt: str) -> None:
        super().__init__()
        self.model = load_whisper(ckpt)

    def get_downsample_rates(self, key: str | None = None) -> int:
        return STRIDE

    def forward(self, wavs: list[Tensor]) -> dict[str, list[Tensor]]:
        samples = torch.tensor([len(wav) for wav in wavs])
        return {"hidden_states": self.model(nn.utils.rnn.pad_sequence(wavs, batch_first=True), samples)}


def hf_whisper_custom(ckpt: str, *args: Any, **kwargs: Any) -> UpstreamExpert:
    """s3prl's entry: ``ckpt`` is a directory or an id of the Hugging Face hub."""
    return UpstreamExpert(ckpt)


def load_whisper(ckpt: str) -> Whisper:
    """The encoder in ``ckpt`` (a directory or a hub id), float32; InputError when it is no Whisper or not all there."""
    from transformers import AutoConfig, WhisperFeatureExtractor

    folder = Path(ckpt)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(ckpt, allow_patterns=FILES))
    try:
        config = AutoConfig.from_pretrained(folder)
        features = WhisperFeatureExtractor.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"frontend_conf: {folder} cannot be read: {reason(error)}. {EXPECTED}") from error
    expect(folder, config, model_type="whisper")
    expect(folder, config, activation_function="gelu", num_mel_bins=features.feature_size)
    expect(folder, features, sampling_rate=16000, hop_length=HOP, dither=0.0)
    log_mel = LogMel(torch.from_numpy(features.mel_filters.T.copy()).float(), features.n_fft)
    with torch.device("meta"):  # no weights are drawn only to be replaced
        model = Whisper(config, log_mel)
    model.load_state_dict(read_weights(folder, set(model.state_dict())), assign=True)
    return model


def expect(folder: Path, read: Any, **wanted: Any) -> None:
    """InputError when something read from ``folder`` has another value than ``wanted``."""
    for name, value in wanted.items():
        if (given := getattr(read, name)) != value:
            raise InputError(f"frontend_conf: {folder}: {name} is {given!r}, expected {value!r}. {EXPECTED}")


def read_weights(folder: Path, wanted: set[str]) -> dict[str, Tensor]:
    """The tensors of ``wanted`` (our names) in float32; those of the decoder stay in the file."""
    from safetensors import safe_open

    whole = folder / "model.safetensors"
    files = [whole] if whole.exists() else sorted(folder.glob(FILES[-1]))
    if not files:
        raise InputError(f"frontend_conf: {folder} holds no model.safetensors. {EXPECTED}")
    found = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118  it is no dict
                if (name := our_name(key)) in wanted:
                    found[name] = tensors.get_tensor(key).to(torch.float32, copy=True)
    refuse_missing(sorted(wanted - set(found)), str(folder))
    return found


def our_name(key: str) -> str:
    """The name in ``Whisper`` of a tensor of ``WhisperForConditionalGeneration``, ``WhisperModel`` or ``WhisperEncoder``."""
    name = key.removeprefix("model.").removeprefix("encoder.")
    if name == "embed_positions.weight":
        return "positions"
    return f"extractor.{name}" if name.startswith("conv") else f"encoder.{name}"
