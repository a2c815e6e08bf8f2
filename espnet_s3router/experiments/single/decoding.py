"""Stages 12 and 13 of a run: its best model on the validation set decodes every test set, and the text is scored."""

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.data.pool import CATEGORY
from espnet_s3router.errors import InputError
from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.single.provenance import digest_of_recordings, digest_of_transcripts
from espnet_s3router.files import read_yaml, write_atomic
from espnet_s3router.results.scoring import score_dir
from espnet_s3router.results.understanding.scoring import score_tasks, score_understanding
from espnet_s3router.text_files import read_lines, read_symbols, read_text


def decoding_marker(options: Options, name: str) -> str:
    """Everything beside the experiment folder that the decoded text of a dataset depends on, in one line."""
    conf = read_yaml(options.inference_config) if options.inference_config else {}
    about = {"config": conf, "args": list(options.inference_args), "model": options.inference_asr_model}
    about["data"] = digest_of_recordings(options, name)
    return json.dumps(about, sort_keys=True) + "\n"


def scoring_marker(options: Options, name: str) -> str:
    """What the scores of a dataset depend on beside its decoded text: the reference text and the symbols left out."""
    about: dict[str, Any] = {"text": digest_of_transcripts(options, name), "nlsyms": unscored_symbols(options)}
    about |= {"phones": True} if options.phones else {}
    about |= {"task": options.task} if options.understands else {}
    return json.dumps(about, sort_keys=True) + "\n"


def unscored_symbols(options: Options) -> list[str]:
    """The symbols of ``--nlsyms_txt``."""
    return read_symbols(options.nlsyms_txt) if options.nlsyms_txt else []


def is_decoded(folder: Path, options: Options) -> bool:
    """True if the folder of a dataset holds text that was decoded with these options and this data."""
    marker = folder / layout.DECODED
    return marker.exists() and marker.read_text(encoding="utf-8") == decoding_marker(options, folder.name)


def is_scored(folder: Path, options: Options) -> bool:
    """True if the folder of a dataset holds the scores of text that was decoded with these options and this data."""
    marker = folder / layout.SCORED
    if not (marker.exists() and (folder / layout.COUNTS).exists() and is_decoded(folder, options)):
        return False
    return marker.read_text(encoding="utf-8") == scoring_marker(options, folder.name)


def decode(experiment: Path, options: Options) -> None:
    """Stage 12: decode the test sets. Text that was decoded in another way under the same tag is replaced."""
    model = experiment / options.inference_asr_model
    if not (layout.is_trained(experiment) and model.exists()):
        raise InputError(
            f"{experiment}: is not trained to the end ({model.name} or {layout.TRAINED} is missing); run stage 11 first"
        )
    for name in options.test_sets:
        folder = experiment / options.decoding_tag / name
        if is_decoded(folder, options):
            continue
        if (folder / layout.DECODED).exists():
            print(f"{folder}: decoded with other options or data; decoding again (--inference_tag keeps both)")
            for file in (layout.DECODED, layout.SCORED, layout.COUNTS):
                (folder / file).unlink(missing_ok=True)
        _decode_dataset(folder, options, experiment, model)
        write_atomic(folder / layout.DECODED, decoding_marker(options, name))


def _decode_dataset(folder: Path, options: Options, experiment: Path, model: Path) -> None:
    """Decode one dataset in ``inference_nj`` parts and join their output."""
    logs = folder / "logdir"
    shutil.rmtree(logs, ignore_errors=True)
    audio = Path(options.test_data(folder.name), layout.AUDIO)
    keys = [line.split(maxsplit=1)[0] for line in read_lines(audio)]
    parts: list[Path] = []
    commands: list[list[str]] = []
    for trained, chosen in models_of(experiment, model, audio, keys).items():
        jobs = max(1, min(options.inference_nj, len(chosen)))
        for job in range(jobs):
            part = logs / f"output.{len(parts) + 1}"
            part.mkdir(parents=True)
            write_atomic(part / "keys", "".join(f"{key} {key}\n" for key in chosen[job::jobs]))
            parts.append(part)
            commands.append(decode_options(part, trained, folder.name, trained.parent, options))
    _run_decoders(f"espnet_s3router.bin.{options.espnet_task}_inference", commands, options.inference_nj)
    for file in ("text", "token", "score"):
        lines = [line for part in parts for line in read_lines(part / "1best_recog" / file)]
        write_atomic(folder / file, "".join(f"{line}\n" for line in sorted(lines)))


def models_of(experiment: Path, model: Path, audio: Path, keys: Sequence[str]) -> dict[Path, list[str]]:
    """The model file that decodes each utterance, with the ``config.yaml`` beside it: one file for each language of a run
    with masks of several languages, else ``model`` for all. Raises InputError for an utterance without a language."""
    conf = read_yaml(experiment / layout.ESPNET_CONFIG).get("frontend_conf") or {}
    if (conf.get("mask_conf") or {}).get("method") != "pathways":
        return {model: list(keys)}
    from espnet_s3router.bin.language_model import main

    table = audio.with_name(CATEGORY)
    languages = read_text(table) if table.is_file() else {}
    missing = [key for key in keys if key not in languages]
    if missing:
        raise InputError(f"{table} names no language for {len(missing)} utterances, for example {missing[0]}. Add them")
    found: dict[Path, list[str]] = {}
    for key in keys:
        folder = experiment / layout.LANGUAGES / f"{languages[key]}_{model.stem}"
        found.setdefault(folder / model.name, []).append(key)
        if not folder.exists() and main([str(experiment / layout.ESPNET_CONFIG), str(model), languages[key], str(folder)]):
            raise InputError(f"{experiment}: the masks of {languages[key]} cannot be taken out; the message stands above")
    return found


def decode_options(part: Path, model: Path, name: str, experiment: Path, options: Options) -> list[str]:
    """The command line of ``asr_inference`` or ``slu_inference`` for one part of a dataset."""
    words = ["--config", options.inference_config] if options.inference_config else []
    task = options.espnet_task
    words += [f"--{task}_train_config", str(experiment / layout.ESPNET_CONFIG), f"--{task}_model_file", str(model)]
    words += ["--data_path_and_name_and_type", f"{options.test_data(name)}/{layout.AUDIO},speech,sound"]
    words += ["--key_file", str(part / "keys"), "--output_dir", str(part), "--ngpu", str(int(options.gpu_decoding))]
    return [*words, "--num_workers", "0", *options.inference_args]


def _run_decoders(module: str, commands: list[list[str]], at_once: int) -> None:
    """Run parts in this process one after another, or ``at_once`` parts at a time in processes of their own."""
    if at_once <= 1 or len(commands) == 1:
        for command in commands:
            importlib.import_module(module).main(command)
        return
    codes: list[int] = []
    for first in range(0, len(commands), at_once):
        group = commands[first : first + at_once]
        children = [subprocess.Popen([sys.executable, "-m", module, *command]) for command in group]
        codes += [child.wait() for child in children]
    if any(codes):
        raise InputError(f"{sum(map(bool, codes))} of {len(codes)} decoding jobs failed; their messages stand above")


def score(experiment: Path, options: Options) -> None:
    """Stage 13: WER and CER of every decoded dataset, and TER if tokens are pieces; PER alone if tokens are phones. Texts
    that begin with an intent: its accuracy, and WER and CER of the transcript behind it. With two tasks, each utterance is
    scored as its task."""
    for name in options.test_sets:
        folder = experiment / options.decoding_tag / name
        if not is_decoded(folder, options):
            raise InputError(f"{folder}: is not decoded with these options; run stage 12 first")
        tokens = options.token_list if options.token_type == "bpe" else None
        marker = scoring_marker(options, name)
        reference = Path(options.test_data(name), layout.TEXT)
        symbols = unscored_symbols(options)
        if options.both_tasks:
            score_tasks(reference, folder / "text", folder, read_text(reference.with_name(CATEGORY)), nlsyms=symbols)
        elif options.understands:
            score_understanding(reference, folder / "text", folder, nlsyms=symbols)
        else:
            score_dir(reference, folder / "text", folder, token_list=tokens, nlsyms=symbols, phones=options.phones)
        write_atomic(folder / layout.SCORED, marker)
