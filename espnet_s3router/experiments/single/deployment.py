"""Stage 17 of a run: its route file, or a baked model if its method has no route, and models in ONNX. All are checked.

A run that removes units also gets its smaller model here, if scoring has not written it before.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from espnet_s3router.bin.asr_inference import split_options
from espnet_s3router.errors import InputError
from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.single.provenance import command_of, digest_of_model, digest_of_recordings, without_folders
from espnet_s3router.experiments.single.shrinking import shrink
from espnet_s3router.files import read_json, read_yaml, write_atomic
from espnet_s3router.results.rows import shown_value
from espnet_s3router.results.scoring import COUNTS, totals

OF_RUN = ("upstream", "variant", "commit")
"""Columns of results that a route file keeps. Method, options and seed are in it anyway."""


def route_file(experiment: Path, options: Options) -> Path:
    """The route file of a run."""
    return experiment / f"{options.language or experiment.name}.route"


def metadata(experiment: Path, options: Options) -> dict[str, Any]:
    """What a route file says about its run, beside what the model file tells. Facts that are not known are left out."""
    info = json.loads((experiment / layout.RUN_INFO).read_text(encoding="utf-8"))
    facts = {
        "language": options.language,
        "corpus": options.recipe_name.partition("/")[0],
        "recipe": options.recipe_name,
        "training_set": options.training_set,
        "valid_set": options.valid_set,
        "test_sets": list(options.test_sets),
        "metrics": metrics(experiment, options),
        "licence": options.licence,
        "training_command": without_folders(command_of(experiment)),
        **{name: info.get(name) for name in OF_RUN},
    }
    return {name: value for name, value in facts.items() if value}


def metrics(experiment: Path, options: Options) -> dict[str, float]:
    """Metrics in percent, as ``test_en_cer``."""
    rates: dict[str, float] = {}
    for name in options.test_sets:
        counts = json.loads((experiment / options.decoding_tag / name / COUNTS).read_text(encoding="utf-8"))
        found = {metric: shown_value(metric, totals(utts.values()).rate) for metric, utts in counts.items()}
        rates |= {f"{name}_{metric}": round(value, 2) for metric, value in found.items()}
    return rates


def decoding(options: Options) -> dict[str, Any]:
    """How the texts of a run are found and what they begin with, for a pack without a route."""
    told = {"ctc_best_path": split_options(options.inference_args)[0], "intents": options.understands}
    decoder = read_yaml(options.inference_config) if options.inference_config else {}
    return {name: True for name, value in told.items() if value} | decoder


def deployment_marker(experiment: Path, options: Options) -> str:
    """Everything that the output of stage 17 depends on, in one line."""
    about = {
        "model": digest_of_model(experiment / options.inference_asr_model),
        "file": route_file(experiment, options).name,
        "metadata": metadata(experiment, options),
        "decoding": read_yaml(options.inference_config) if options.inference_config else {},
        "best_path": split_options(options.inference_args)[0],
        "recordings": digest_of_recordings(options, options.valid_set),
        "utterances": options.route_utterances,
        **({"task": options.task} if options.understands else {}),
        "bake": options.bake,
        **({"export": [*options.export, options.export_accept_loss, options.export_utterances]} if options.export else {}),
    }
    return json.dumps(about, sort_keys=True) + "\n"


def read_report(experiment: Path) -> dict[str, Any]:
    """What stage 17 wrote for a run (see ``bin.asr_deploy``); empty if it was not run."""
    return read_json(experiment / layout.ROUTE_INFO)


def read_smaller(experiment: Path) -> dict[str, Any]:
    """What is known of the smaller model of a run (see ``bin.asr_shrink``); empty if it has none."""
    return read_json(experiment / layout.SHRUNK_INFO)


def is_deployed(experiment: Path, options: Options) -> bool:
    """True if stage 17 is finished for the model, the scores and the options of a run, and its output is there."""
    marker, report = experiment / layout.DEPLOYED, read_report(experiment)
    written = [experiment / report[kind] for kind in ("route", "baked", "exported") if kind in report]
    written += [experiment / layout.SHRUNK] if read_smaller(experiment) else []
    if not (report and marker.exists() and all(path.exists() for path in written)):
        return False
    return marker.read_text(encoding="utf-8") == deployment_marker(experiment, options)


def deploy(experiment: Path, options: Options) -> None:
    """Write the route file of a run, or bake it. Raises InputError if the run is not trained and scored."""
    from espnet_s3router.bin.asr_deploy import main

    if is_deployed(experiment, options):
        return
    for needed in (layout.RUN_INFO, layout.TRAINED, options.inference_asr_model):
        if not (experiment / needed).exists():
            raise InputError(f"{experiment}: is not trained to the end ({needed} is missing); run stages 11 to 13 first")
    remove_output(experiment)
    shrink(experiment, options)
    marker = deployment_marker(experiment, options)
    write_atomic(experiment / layout.ROUTE_METADATA, json.dumps(metadata(experiment, options), indent=1) + "\n")
    main(deploy_options(experiment, options))
    write_atomic(experiment / layout.DEPLOYED, marker)


def remove_output(experiment: Path) -> None:
    """Remove what stage 17 wrote before, so that nothing of it is taken for the output of other options."""
    report = read_report(experiment)
    (experiment / layout.DEPLOYED).unlink(missing_ok=True)
    if "route" in report:
        (experiment / report["route"]).unlink(missing_ok=True)
    for made in (layout.BAKED, layout.EXPORTED):
        shutil.rmtree(experiment / made, ignore_errors=True)
    (experiment / layout.ROUTE_INFO).unlink(missing_ok=True)


def deploy_options(experiment: Path, options: Options) -> list[str]:
    """The command line of ``asr_deploy``."""
    files = {
        "asr_train_config": experiment / layout.ESPNET_CONFIG,
        "asr_model_file": experiment / options.inference_asr_model,
        "route": route_file(experiment, options),
        "report": experiment / layout.ROUTE_INFO,
        "metadata": experiment / layout.ROUTE_METADATA,
        "wav_scp": Path(options.test_data(options.valid_set), layout.AUDIO),
    }
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    words += ["--utterances", str(options.route_utterances), "--task", options.espnet_task]
    words += ["--decode_config", options.inference_config] if options.inference_config else []
    words += ["--ctc_best_path"] if split_options(options.inference_args)[0] else []
    words += ["--intents"] if options.understands else []
    words += ["--baked", str(experiment / layout.BAKED)] if options.bake else []
    if options.export:
        text = Path(options.test_data(options.valid_set), layout.TEXT)
        words += ["--exported", str(experiment / layout.EXPORTED), "--text", str(text), "--export", *options.export]
        words += ["--export_utterances", str(options.export_utterances)] if options.export_utterances else []
        words += ["--accept_loss"] if options.export_accept_loss else []
    return words
