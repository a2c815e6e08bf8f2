"""One run in one interpreter: train, decode, score, write its route. Importing ESPnet takes long.

Every stage leaves a marker when it is done, and is skipped if its marker is there.
"""

import argparse
import functools
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.experiments.single.decoding import decode, score
from espnet_s3router.experiments.single.deployment import deploy
from espnet_s3router.experiments.single.provenance import command_of, commit_of, note_start, refuse_changed_origin
from espnet_s3router.experiments.single.shrinking import shrink
from espnet_s3router.files import locked, read_yaml, write_atomic

PRELOAD = (
    "espnet_s3router.experiments.single.run",
    "espnet_s3router.plugin.training.task",
    "espnet_s3router.plugin.best_path",
    "s3prl.nn",
)
"""What every run imports; a run server imports it once."""
LEAST_UPDATES = 0.95
"""Fraction of the configured updates; a run with fewer has diverged."""


def train(experiment: Path, options: Options, label: str = "") -> None:
    """Stage 11: train with ``train.yaml`` of the experiment folder; resume an interrupted run. ``label``: see ``Spec``."""
    note_start(experiment, options.command)  # first: an attempt that trained nothing is not bound to the models it noted
    refuse_changed_origin(experiment)
    if layout.is_trained(experiment):
        print(f"{experiment}: trained already")
        remove_checkpoints(experiment)
        return
    command, module = train_options(experiment, options), f"espnet_s3router.bin.{options.espnet_task}_train"
    if options.num_nodes > 1 or options.ngpu > 1:
        launch = ["--cmd", options.train_cmd, "--log", str(experiment / layout.TRAIN_LOG), "--ngpu", str(options.ngpu)]
        launch += ["--num_nodes", str(options.num_nodes), "--init_file_prefix", str(experiment / ".dist_init_")]
        launch += ["--multiprocessing_distributed", "true", "--", sys.executable, "-m", module]
        run_module("espnet2.bin.launch", [*launch, *command])
    else:
        importlib.import_module(module).main(command)
    refuse_diverged(experiment)
    write_atomic(experiment / layout.RUN_INFO, json.dumps(describe(experiment, options, label), indent=1) + "\n")
    write_atomic(experiment / layout.TRAINED, "done\n")
    remove_checkpoints(experiment)


def remove_checkpoints(experiment: Path) -> None:
    """Remove the state of the optimiser, most of the disk space of a run: a finished run is not resumed."""
    for path in experiment.glob("checkpoint*.pth"):
        path.unlink()


def refuse_diverged(experiment: Path) -> None:
    """Raises InputError if many updates are missing. ESPnet skips updates whose gradients are not finite, and stops after an
    epoch without any update. Mixed precision skips a few while it finds its scale."""
    from espnet_s3router.experiments.specification import updates_of

    progress = layout.read_progress(experiment / layout.PROGRESS)
    expected = updates_of(read_yaml(experiment / layout.TRAIN_CONFIG) | {"max_epoch": progress.epoch})
    if not progress.last_updates:
        lost = f"epoch {progress.epoch} of {progress.max_epoch} made no update"
    elif expected and progress.updates < LEAST_UPDATES * expected:
        lost = f"{expected - progress.updates} of {expected} updates were left out"
    else:
        return
    raise InputError(
        f"{experiment}: {lost}: the loss or its gradients were not finite (NaN or infinite). Remove the folder and train "
        "with a lower learning rate"
    )


def train_options(experiment: Path, options: Options) -> list[str]:
    """The command line of ``asr_train`` or ``slu_train``."""
    words = ["--config", str(experiment / layout.TRAIN_CONFIG), "--output_dir", str(experiment), "--resume", "true"]
    words += ["--ngpu", str(options.ngpu), *data_options(options)]
    for part in ("train", "valid"):
        for shape in ("speech_shape", f"text_shape.{options.espnet_token_type}"):
            words += [f"--{part}_shape_file", str(Path(options.stats_dir, part, shape))]
    return [*words, "--init_param", options.pretrained_model] if options.pretrained_model else words


def data_options(options: Options) -> list[str]:
    """The options of ``asr_train`` for tokens and data, for statistics and for training."""
    words = ["--use_preprocessor", "true", "--token_type", options.espnet_token_type, "--token_list", options.token_list]
    if options.bpe_model:
        words += ["--bpemodel", options.bpe_model]
    if options.symbols_file and (options.token_type == "char" or not options.understands):
        words += ["--non_linguistic_symbols", options.symbols_file]
    for part, name in (("train", options.training_set), ("valid", options.valid_set)):
        for file, kind in ((layout.AUDIO, "speech,sound"), (layout.TEXT, "text,text")):
            words += [f"--{part}_data_path_and_name_and_type", f"{options.raw}/{name}/{file},{kind}"]
    return words


def run_module(module: str, words: Sequence[str]) -> None:
    """Run a module in its own process. Raises InputError if it fails."""
    if code := subprocess.run([sys.executable, "-m", module, *words], check=False).returncode:
        raise InputError(f"{module} failed with exit code {code}; its message stands above")


def sparsity_column(method: Any, counted: Mapping[str, Any]) -> float | None:
    """The sparsity that the options of a method name; with ``target_bytes`` the counted share of the masked tensors.

    None for a method without sparsity.
    """
    if getattr(method, "target_bytes", None) is not None:
        return round(counted["masked"], 4)
    return getattr(method, "sparsity", None)


def describe(experiment: Path, options: Options, label: str = "") -> dict[str, Any]:
    """``point.json``: the columns of the results that do not depend on a score, zeros counted in the model, the command."""
    from espnet_s3router.experiments.specification import Spec
    from espnet_s3router.methods import resolve

    config = read_yaml(experiment / layout.TRAIN_CONFIG)
    spec = Spec(experiment.name, config, label=label)
    method = resolve(spec.mask_conf)[1]
    model = json.loads((experiment / layout.MODEL_INFO).read_text(encoding="utf-8"))
    progress = layout.read_progress(experiment / layout.PROGRESS)
    return {
        "recipe": options.recipe_name,
        "upstream": spec.upstream,
        "split": options.training_set,
        "method": spec.method,
        "variant": spec.variant,
        "sparsity": sparsity_column(method, model["sparsity"]),
        "targets": getattr(method, "targets", None),
        "init": getattr(method, "init", None),
        "lr": config.get("optim_conf", {}).get("lr"),
        "seed": config.get("seed", 0),
        **{key: model[key] for key in ("params_trained", "params_total", "macs", "bytes_added", "base")},
        "counted": model["sparsity"],  # zeros of the trained model
        "train_seconds": round(progress.train_seconds, 1),
        "updates": progress.updates,
        "commit": commit_of(experiment),
        "command": command_of(experiment),
    }


@contextmanager
def locked_folder(experiment: Path) -> Iterator[None]:
    """Within the block no other process works on the experiment folder. Raises InputError if one does."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(experiment, wait=False))
        except BlockingIOError as error:
            raise InputError(
                f"{experiment}: another process works on this run. Wait for it, or choose another --expdir"
            ) from error
        yield


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Run the stages of one run, as far as the options have them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--options", type=Path, required=True, help="file that experiments.options has written")
    parser.add_argument("--folder", type=Path, required=True, help="experiment folder with a train.yaml")
    parser.add_argument("--label", default="", help="name of the method in the results; empty: the name in mask_conf")
    parser.add_argument("--stage", type=int, help="first stage, instead of the one in the options")
    args = parser.parse_args(argv)
    options = Options.read(args.options)
    first = options.stage if args.stage is None else args.stage
    with locked_folder(args.folder):
        training = functools.partial(train, label=args.label)
        stages = ((11, training), (12, decode), (13, score), (13, shrink), (17, deploy))
        for number, stage in stages:
            if first <= number <= options.stop_stage:
                stage(args.folder, options)


if __name__ == "__main__":
    raise SystemExit(main())
