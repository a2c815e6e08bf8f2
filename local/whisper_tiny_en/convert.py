"""Whisper in CTranslate2's form -> directories as transformers reads them: the encoder, and the whole model beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from local.whisper_tiny_en.ctranslate2 import read_model_bin, whisper_tensors

WHOLE = "whole"
"""Folder of the model with its decoder, inside the folder of the encoder."""
LICENCE = Path(__file__).with_name("LICENSE")


def write_whisper(files: dict[str, bytes], folder: Path) -> None:
    """Write the encoder into ``folder`` and the whole model into ``folder``/whole. The float16 values stay unchanged."""
    from safetensors.numpy import save

    variables = read_model_bin(files["model.bin"])
    tensors = {name: np.ascontiguousarray(values) for name, values in whisper_tensors(variables).items()}
    config, features, generation = configurations(files, tensors, variables)
    encoder = {name.removeprefix("encoder."): t for name, t in tensors.items() if name.startswith("encoder.")}
    whole = {f"model.{name}": tensor for name, tensor in tensors.items()}
    for path, architecture, content in (
        (folder, "WhisperEncoder", encoder),
        (folder / WHOLE, "WhisperForConditionalGeneration", whole),
    ):
        path.mkdir(exist_ok=True)
        (path / "model.safetensors").write_bytes(save(content, metadata={"format": "pt"}))
        write_json(path / "config.json", config | {"architectures": [architecture]})
        write_json(path / "preprocessor_config.json", features)
        shutil.copyfile(LICENCE, path / "LICENSE")
    write_json(folder / WHOLE / "generation_config.json", generation)
    (folder / WHOLE / "tokenizer.json").write_bytes(files["tokenizer.json"])


def configurations(
    files: dict[str, bytes], tensors: dict[str, np.ndarray], variables: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The settings of the model, of its feature extractor and of decoding, as transformers names them."""
    settings = json.loads(files["config.json"])
    special = {token["content"]: token["id"] for token in json.loads(files["tokenizer.json"])["added_tokens"]}
    tokens = {
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), special["<|endoftext|>"]),
        "decoder_start_token_id": special["<|startoftranscript|>"],
        "suppress_tokens": settings["suppress_ids"],
        "begin_suppress_tokens": settings["suppress_ids_begin"],
    }
    config = sizes(tensors, {name: int(value) for name, value in variables.items() if value.ndim == 0})
    config |= {"model_type": "whisper", "activation_function": "gelu", "dtype": "float16", **tokens}
    features = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": config["num_mel_bins"],
        "chunk_length": config["max_source_positions"] // 50,  # seconds, at 50 positions per second
        **{"n_fft": 400, "hop_length": 160, "sampling_rate": 16000},
        **{"padding_value": 0.0, "padding_side": "right", "return_attention_mask": False},
    }
    generation = tokens | {
        "no_timestamps_token_id": special["<|notimestamps|>"],
        **{"return_timestamps": False, "is_multilingual": False},
        "alignment_heads": settings["alignment_heads"],
        "max_length": config["max_target_positions"],
    }
    return config, features, generation


def sizes(tensors: dict[str, np.ndarray], scalars: dict[str, int]) -> dict[str, Any]:
    """Sizes of the model as transformers names them: from the shapes of the weights, and heads from ``scalars``."""
    d_model, mels, _ = tensors["encoder.conv1.weight"].shape
    found = {"d_model": d_model, "num_mel_bins": mels, "vocab_size": len(tensors["decoder.embed_tokens.weight"])}
    for half, positions in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        found[positions] = len(tensors[f"{half}.embed_positions.weight"])
        found[f"{half}_layers"] = sum(name.startswith(half) and name.endswith("fc1.weight") for name in tensors)
        found[f"{half}_ffn_dim"] = len(tensors[f"{half}.layers.0.fc1.weight"])
        found[f"{half}_attention_heads"] = scalars[f"{half}/num_heads"]
    return found


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` as indented JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def transcribe(folder: Path, recording: Path) -> str:
    """Transcribe a recording of at most 30 s at 16 kHz with the whole model: greedy, without timestamps."""
    import soundfile
    import torch
    from tokenizers import Tokenizer
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    whole = folder / WHOLE
    audio, rate = soundfile.read(recording, dtype="float32")
    features = WhisperFeatureExtractor.from_pretrained(whole)(audio, sampling_rate=rate, return_tensors="pt")
    model = WhisperForConditionalGeneration.from_pretrained(whole, dtype=torch.float32).eval()
    tokens = model.generate(features["input_features"], do_sample=False, num_beams=1)[0].tolist()
    return Tokenizer.from_file(str(whole / "tokenizer.json")).decode(tokens, skip_special_tokens=True).strip()
