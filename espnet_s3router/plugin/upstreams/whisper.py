"""The upstream ``hf_whisper_custom``: Whisper encoders in the Hugging Face format, for s3prl's hub.

The source is a directory or an id of the Hugging Face hub. It holds config.json, preprocessor_config.json and
model.safetensors, of a whole Whisper model or of its encoder. Half-precision weights are converted to float32.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_s3router.errors import InputError, summary
from espnet_s3router.plugin.upstreams.build import check_complete
from espnet_s3router.plugin.upstreams.whisper_encoder import HOP, STRIDE, LogMel, Whisper

FILES = ["*.json", "model.safetensors", "model-*-of-*.safetensors"]
EXPECTED = "Expected a Hugging Face directory of a Whisper: config.json, preprocessor_config.json, model.safetensors"


class UpstreamExpert(nn.Module):
    """s3prl's interface: a list of waveforms (samples,) -> hidden states (batch, frames, dim), 50 frames a second."""

    def __init__(self, ckpt: str) -> None:
        super().__init__()
        self.model = load_whisper(ckpt)

    def get_downsample_rates(self, key: str | None = None) -> int:
        return STRIDE

    def forward(self, wavs: list[Tensor]) -> dict[str, list[Tensor]]:
        samples = torch.tensor([len(wav) for wav in wavs])
        return {"hidden_states": self.model(nn.utils.rnn.pad_sequence(wavs, batch_first=True), samples)}


def hf_whisper_custom(ckpt: str, *args: Any, **kwargs: Any) -> UpstreamExpert:
    """Entry in s3prl's hub; ``ckpt`` is a directory or an id of the Hugging Face hub."""
    return UpstreamExpert(ckpt)


def load_whisper(ckpt: str) -> Whisper:
    """The encoder of ``ckpt`` in float32; InputError when it is no Whisper model or incomplete."""
    from transformers import AutoConfig, WhisperFeatureExtractor

    folder = Path(ckpt)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(ckpt, allow_patterns=FILES))
    try:
        config = AutoConfig.from_pretrained(folder)
        features = WhisperFeatureExtractor.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"frontend_conf: {folder} cannot be read: {summary(error)}. {EXPECTED}") from error
    check_values(folder, config, model_type="whisper")
    check_values(folder, config, activation_function="gelu", num_mel_bins=features.feature_size)
    check_values(folder, features, sampling_rate=16000, hop_length=HOP, dither=0.0)
    log_mel = LogMel(torch.from_numpy(features.mel_filters.T.copy()).float(), features.n_fft)
    with torch.device("meta"):  # draws no weights, because all are replaced
        model = Whisper(config, log_mel)
    model.load_state_dict(read_weights(folder, set(model.state_dict())), assign=True)
    return model


def check_values(folder: Path, configuration: Any, **expected: Any) -> None:
    """InputError when a configuration from ``folder`` has other values than ``expected``."""
    for name, value in expected.items():
        if (got := getattr(configuration, name)) != value:
            raise InputError(f"frontend_conf: {folder}: {name} is {got!r}, expected {value!r}. {EXPECTED}")


def read_weights(folder: Path, names: set[str]) -> dict[str, Tensor]:
    """The tensors with these names (ours) in float32. Tensors of the decoder are not read."""
    from safetensors import safe_open

    whole = folder / "model.safetensors"
    files = [whole] if whole.exists() else sorted(folder.glob(FILES[-1]))
    if not files:
        raise InputError(f"frontend_conf: {folder} holds no model.safetensors. {EXPECTED}")
    weights = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118  not a dict
                if (name := our_name(key)) in names:
                    weights[name] = tensors.get_tensor(key).to(torch.float32, copy=True)
    check_complete(sorted(names - set(weights)), str(folder))
    return weights


def our_name(key: str) -> str:
    """The name in ``Whisper`` of a tensor of ``WhisperForConditionalGeneration``, ``WhisperModel`` or ``WhisperEncoder``."""
    name = key.removeprefix("model.").removeprefix("encoder.")
    if name == "embed_positions.weight":
        return "positions"
    return f"extractor.{name}" if name.startswith("conv") else f"encoder.{name}"
