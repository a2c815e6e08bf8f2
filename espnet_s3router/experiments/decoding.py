"""Stage 12 of a point: its best epoch on dev decodes every test set."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.experiments.datasets import LENGTHS, digest_of_data, folder_of_set
from espnet_s3router.files import read_yaml, write_atomic

DONE = ".decoded"  # holds what it was decoded with
SCORED = ".scored"  # holds what the scores of it were made with


def asked(args: argparse.Namespace, name: str) -> str:
    """What decides the result for a set beside the model's folder."""
    conf = read_yaml(args.inference_config) if args.inference_config else {}
    about = {"config": conf, "args": args.inference_args, "model": args.inference_asr_model}
    about["data"] = digest_of_data(folder_of_set(args, name) / LENGTHS)
    return json.dumps(about, sort_keys=True) + "\n"


def is_decoded(target: Path, args: argparse.Namespace) -> bool:
    """Whether ``target`` (the folder of a set) holds what these options ask for."""
    done = target / DONE
    return done.exists() and done.read_text(encoding="utf-8") == asked(args, target.name)


def decode(folder: Path, args: argparse.Namespace) -> None:
    """Decode the test sets that are not decoded in this way yet; what was found in another way under the same tag goes."""
    model = folder / args.inference_asr_model
    if not (folder / ".trained").exists() or not model.exists():
        raise InputError(f"{folder}: is not trained to the end ({model.name} or .trained is missing); run stage 11 first")
    for name in args.test_sets:
        target = folder / args.inference_tag / name
        if is_decoded(target, args):
            continue
        if (target / DONE).exists():
            print(f"{target}: decoded with other options or data; decoding again (--inference_tag keeps both)")
            for file in (DONE, SCORED, "counts.json"):
                (target / file).unlink(missing_ok=True)
        logs = target / "logdir"
        shutil.rmtree(logs, ignore_errors=True)
        audio = folder_of_set(args, name) / "wav.scp"
        keys = [line.split(maxsplit=1)[0] for line in audio.read_text("utf-8").splitlines()]
        jobs = max(1, min(args.inference_nj, len(keys)))
        parts = []
        for job in range(jobs):
            part = logs / f"output.{job + 1}"
            part.mkdir(parents=True)
            write_atomic(part / "keys", "".join(f"{key} {key}\n" for key in keys[job::jobs]))
            parts.append((part, decode_options(part, model, name, folder, args)))
        run_decoders([options for _, options in parts])
        for file in ("text", "token", "score"):
            lines = [ln for part, _ in parts for ln in (part / "1best_recog" / file).read_text("utf-8").splitlines()]
            write_atomic(target / file, "".join(f"{line}\n" for line in sorted(lines)))
        write_atomic(target / DONE, asked(args, name))


def decode_options(part: Path, model: Path, name: str, folder: Path, args: argparse.Namespace) -> list[str]:
    """The command line of ``asr_inference`` for one share of a set."""
    options = ["--config", args.inference_config] if args.inference_config else []
    options += ["--asr_train_config", str(folder / "config.yaml"), "--asr_model_file", str(model)]
    options += ["--data_path_and_name_and_type", f"{folder_of_set(args, name)}/wav.scp,speech,sound"]
    options += ["--key_file", str(part / "keys"), "--output_dir", str(part), "--ngpu", str(int(args.gpu_inference))]
    return [*options, "--num_workers", "0", *args.inference_args]


def run_decoders(commands: list[list[str]]) -> None:
    """One share in this process, several in processes of their own."""
    if len(commands) == 1:
        from espnet_s3router.bin.asr_inference import main

        main(commands[0])
        return
    module = [sys.executable, "-m", "espnet_s3router.bin.asr_inference"]
    children = [subprocess.Popen([*module, *command]) for command in commands]
    codes = [child.wait() for child in children]
    if any(codes):
        raise InputError(f"{sum(map(bool, codes))} of {len(codes)} decoding jobs failed; their messages stand above")
