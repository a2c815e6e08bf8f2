"""One point of a recipe: train, decode, score, in one interpreter (importing ESPnet costs more than decoding a small set).

Every stage leaves a marker when it is done and is skipped when its marker is there.
"""

import argparse
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.experiments.datasets import TEXT, digest_of_data, folder_of_set
from espnet_s3router.experiments.decoding import SCORED, decode, is_decoded
from espnet_s3router.experiments.progress import read_progress
from espnet_s3router.experiments.provenance import commit_of, note_beginning, refuse_changed_origin
from espnet_s3router.files import read_yaml, write_atomic
from espnet_s3router.results.scoring import score_dir
from espnet_s3router.text_files import read_lines

MODEL = "valid.cer_ctc.ave.pth"
LEAST_UPDATES = 0.95  # of those that a configuration asks for, lest a run count as diverged


def train(folder: Path, args: argparse.Namespace) -> None:
    """Stage 11: train with ``folder/train.yaml``; resumes what was interrupted."""
    done = folder / ".trained"
    note_beginning(folder)  # first: what an attempt that trained nothing has noted does not bind
    refuse_changed_origin(folder)
    if done.exists():
        print(f"{folder}: trained already")
        remove_checkpoints(folder)
        return
    command = train_options(folder, args)
    if args.num_nodes > 1 or args.ngpu > 1:
        launch = ["--cmd", args.train_cmd, "--log", str(folder / "train.log"), "--ngpu", str(args.ngpu)]
        launch += ["--num_nodes", str(args.num_nodes), "--init_file_prefix", str(folder / ".dist_init_")]
        launch += ["--multiprocessing_distributed", "true", "--", sys.executable, "-m", "espnet_s3router.bin.asr_train"]
        run_module("espnet2.bin.launch", [*launch, *command])
    else:
        from espnet_s3router.bin.asr_train import main

        main(command)
    refuse_diverged(folder)
    write_atomic(folder / "point.json", json.dumps(describe(folder, args), indent=1) + "\n")
    write_atomic(done, "done\n")
    remove_checkpoints(folder)


def remove_checkpoints(folder: Path) -> None:
    """A finished run goes on from nothing, and the state of its optimiser is most of what it would leave on the disk."""
    for path in folder.glob("checkpoint*.pth"):
        path.unlink()


def refuse_diverged(folder: Path) -> None:
    """InputError when many updates are missing: ESPnet leaves out those whose gradients are not finite, and stops after an
    epoch of them. (A few are usual where mixed precision looks for its scale.)"""
    from espnet_s3router.experiments.specification import updates_of

    progress = read_progress(folder / "progress.tsv")
    asked = updates_of(read_yaml(folder / "train.yaml") | {"max_epoch": progress.epoch})
    if not progress.last_updates:
        lost = f"epoch {progress.epoch} of {progress.max_epoch} made no update"
    elif asked and progress.updates < LEAST_UPDATES * asked:
        lost = f"{asked - progress.updates} of {asked} updates were left out"
    else:
        return
    raise InputError(
        f"{folder}: {lost}: the loss or its gradients were not finite (NaN or infinite). Remove the folder and train with a "
        "lower learning rate"
    )


def train_options(folder: Path, args: argparse.Namespace) -> list[str]:
    """The command line of ``asr_train``."""
    options = ["--config", str(folder / "train.yaml"), "--output_dir", str(folder), "--resume", "true"]
    options += ["--ngpu", str(args.ngpu), *data_options(args)]
    for part, name in (("train", "train"), ("valid", "valid")):
        for shape in ("speech_shape", f"text_shape.{args.token_type}"):
            options += [f"--{part}_shape_file", str(Path(args.stats_dir) / name / shape)]
    for path in args.init_param:
        options += ["--init_param", path]
    return options


def data_options(args: argparse.Namespace) -> list[str]:
    """Tokens and data of ``asr_train``, for statistics and for training."""
    options = ["--use_preprocessor", "true", "--token_type", args.token_type, "--token_list", args.token_list]
    if args.bpemodel:
        options += ["--bpemodel", args.bpemodel]
    if args.nlsyms_txt:
        options += ["--non_linguistic_symbols", args.nlsyms_txt]
    for part, folder in (("train", args.train_set), ("valid", args.valid_set)):
        for file, kind in (("wav.scp", "speech,sound"), ("text", "text,text")):
            options += [f"--{part}_data_path_and_name_and_type", f"{args.dump}/{folder}/{file},{kind}"]
    return options


def run_module(module: str, options: Sequence[str], log: Path | None = None) -> None:
    """Run a module in a process of its own, its output in ``log`` if given; InputError with the end of it when it fails."""
    command = [sys.executable, "-m", module, *options]
    if log is None:
        code, said = subprocess.run(command, check=False).returncode, "its message stands above"
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            code = subprocess.run(command, check=False, stdout=file, stderr=subprocess.STDOUT).returncode
        said = "\n".join([f"the end of {log}:", *log.read_text("utf-8", errors="replace").splitlines()[-8:]])
    if code:
        raise InputError(f"{module} failed with exit code {code}; {said}")


def describe(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """``point.json``: what was trained (the columns of the results table that do not depend on a score)."""
    from espnet_s3router.experiments.specification import Spec
    from espnet_s3router.methods import resolve

    config = read_yaml(folder / "train.yaml")
    spec = Spec(folder.name, config, label=args.label)
    mask_conf, options = spec.mask_conf, resolve(spec.mask_conf)[1]
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    progress = read_progress(folder / "progress.tsv")
    return {
        "recipe": args.recipe,
        "upstream": spec.upstream,
        "split": args.train_set,
        "method": spec.method,
        "variant": spec.variant,
        "sparsity": mask_conf.get("sparsity"),
        "targets": getattr(options, "targets", None),
        "init": getattr(options, "init", None),
        "lr": config.get("optim_conf", {}).get("lr"),
        "seed": config.get("seed", 0),
        **{key: model[key] for key in ("params_trained", "params_total", "macs", "bytes_added")},
        "counted": model["sparsity"],  # zeros of the trained model, see methods.report
        "train_seconds": round(progress.train_seconds, 1),
        "updates": progress.updates,
        "commit": commit_of(folder),
    }


def score(folder: Path, args: argparse.Namespace) -> None:
    """Stage 13: WER and CER (TER where tokens are not characters) of every decoded set."""
    for name in args.test_sets:
        decoded = folder / args.inference_tag / name
        if not is_decoded(decoded, args):
            raise InputError(f"{decoded}: is not decoded with these options; run stage 12 first")
        tokens = args.token_list if args.token_type == "bpe" else None
        about, text = scored_with(args, name), folder_of_set(args, name) / TEXT
        score_dir(text, decoded / "text", decoded, token_list=tokens, nlsyms=nlsyms_of(args))
        write_atomic(decoded / SCORED, about)


def scored_with(args: argparse.Namespace, name: str) -> str:
    """What decides the scores of a set beside what was decoded: the reference text, and what is left out of it."""
    about = {"text": digest_of_data(folder_of_set(args, name) / TEXT), "nlsyms": nlsyms_of(args)}
    return json.dumps(about, sort_keys=True) + "\n"


def nlsyms_of(args: argparse.Namespace) -> list[str]:
    """The symbols of ``--nlsyms_txt``."""
    return read_lines(args.nlsyms_txt) if args.nlsyms_txt else []


def is_scored(target: Path, args: argparse.Namespace) -> bool:
    """Whether ``target`` (the folder of a set) holds the scores of what these options ask for."""
    done = target / SCORED
    if not (done.exists() and (target / "counts.json").exists() and is_decoded(target, args)):
        return False
    return done.read_text(encoding="utf-8") == scored_with(args, target.name)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within the block no other process works on the folder; InputError if one does."""
    with (folder / "train.yaml").open("r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released on close, also when the process is killed
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another process works on this point. Wait for it, or choose another --expdir"
            ) from error
        yield


def build_parser() -> argparse.ArgumentParser:
    """Options shared by the parent (``experiments``) and the child (this module)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", type=int, default=11)
    parser.add_argument("--stop_stage", type=int, default=13)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--dump", default="dump/raw")
    parser.add_argument("--stats_dir", required=True)
    parser.add_argument("--train_set", required=True)
    parser.add_argument("--valid_set", required=True)
    parser.add_argument("--test_sets", nargs="+", action="extend", required=True)
    parser.add_argument("--token_type", default="char")
    parser.add_argument("--token_list", required=True)
    parser.add_argument("--bpemodel", default="")
    parser.add_argument("--nlsyms_txt", default="", help="symbols that are no words: one token each, and not scored")
    parser.add_argument("--inference_config", default="")
    parser.add_argument("--inference_args", nargs="*", action="extend", default=[])
    parser.add_argument("--inference_tag", default="decode")
    parser.add_argument("--inference_asr_model", default=MODEL)
    parser.add_argument("--inference_nj", type=int, default=1)
    parser.add_argument("--gpu_inference", action="store_true")
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--num_nodes", type=int, default=1)
    parser.add_argument("--train_cmd", default="run.pl")
    parser.add_argument("--init_param", nargs="*", action="extend", default=[])
    return parser


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Run the stages of one point."""
    parser = build_parser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--label", default="", help="what the results call its method; default: as mask_conf does")
    args = parser.parse_args(argv)
    with alone(args.folder):
        for number, stage in ((11, train), (12, decode), (13, score)):
            if args.stage <= number <= args.stop_stage:
                stage(args.folder, args)


if __name__ == "__main__":
    raise SystemExit(main())
