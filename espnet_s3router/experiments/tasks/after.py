"""One run, scored again on the upstream that a later run of another task left: put together, decode, score.

The experiment folder has the head and the masks of the first run, and the weights of the later one.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.single.decoding import decode, score
from espnet_s3router.experiments.single.provenance import command_of, commit_of, note_start, refuse_changed_origin
from espnet_s3router.experiments.single.run import locked_folder
from espnet_s3router.files import write_atomic


def put_together(folder: Path, first: Path, later: Path, options: Options, later_task: str, label: str) -> None:
    """Write the model and what is known of it, unless they are there. ``first``, ``later``: model files in the experiment
    folders of trained runs; ``label``: the method in tables. Raises InputError if one of the two runs has changed since."""
    note_start(folder, options.command, (first, later))
    refuse_changed_origin(folder)
    if layout.is_trained(folder):
        return
    from espnet_s3router.bin.later_upstream import main as write_model

    words = [str(path) for model in (first, later) for path in (model.with_name(layout.ESPNET_CONFIG), model)]
    tasks = ["--first_task", options.espnet_task, "--later_task", later_task]
    if write_model([*words, str(folder), *tasks]):
        raise InputError(f"{folder}: the two runs do not fit together; the message stands above")
    infos = [json.loads(model.with_name(layout.RUN_INFO).read_text(encoding="utf-8")) for model in (first, later)]
    variant = hashlib.sha256(" ".join(info["variant"] for info in infos).encode()).hexdigest()[:10]
    about = infos[0] | {"method": label, "variant": variant, "commit": commit_of(folder), "command": command_of(folder)}
    write_atomic(folder / layout.RUN_INFO, json.dumps(about, indent=1) + "\n")
    write_atomic(folder / layout.TRAINED, "done\n")


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Put one model together, decode and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--options", type=Path, required=True, help="options of the first task, in a file")
    parser.add_argument("--folder", type=Path, required=True, help="experiment folder to write, with a train.yaml")
    parser.add_argument("--first", type=Path, required=True, help="model file of the first run")
    parser.add_argument("--later", type=Path, required=True, help="model file of the later run")
    parser.add_argument("--later_task", default="asr", help="task of ESPnet of the later run: asr or slu")
    parser.add_argument("--label", required=True, help="name of the method in the results")
    args = parser.parse_args(argv)
    options = Options.read(args.options)
    with locked_folder(args.folder):
        put_together(args.folder, args.first, args.later, options, args.later_task, args.label)
        decode(args.folder, options)
        score(args.folder, options)


if __name__ == "__main__":
    raise SystemExit(main())
