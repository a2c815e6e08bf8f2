"""The smaller model of a run whose method removes units: written, compared and timed after scoring."""

import json
from pathlib import Path

from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.single.provenance import digest_of_model
from espnet_s3router.files import read_yaml, write_atomic


def shrink(experiment: Path, options: Options) -> None:
    """Write the smaller model of a run that removes units. A run of another method has none, and one whose smaller model is
    there already is left alone."""
    from espnet_s3router.experiments.specification import removes_units

    if not removes_units(read_yaml(experiment / layout.TRAIN_CONFIG)):
        return
    model, marker = experiment / options.inference_asr_model, experiment / layout.SHRUNK_MARKER
    about = json.dumps({"model": digest_of_model(model), "utterances": options.route_utterances}) + "\n"
    if marker.exists() and marker.read_text(encoding="utf-8") == about and (experiment / layout.SHRUNK).is_dir():
        return
    from espnet_s3router.bin.asr_shrink import main

    marker.unlink(missing_ok=True)
    files = {
        "task": options.espnet_task,
        "asr_train_config": experiment / layout.ESPNET_CONFIG,
        "asr_model_file": model,
        "out": experiment / layout.SHRUNK,
        "report": experiment / layout.SHRUNK_INFO,
        "wav_scp": Path(options.test_data(options.valid_set), layout.AUDIO),
        "utterances": options.route_utterances,
    }
    main([word for name, value in files.items() for word in (f"--{name}", str(value))] + ["--if_any"])
    if (experiment / layout.SHRUNK).is_dir():  # a sparsity may round to no unit
        write_atomic(marker, about)
