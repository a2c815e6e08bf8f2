"""One run on texts: train, give the intents of every test set, score them."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from espnet_s3router.data.tokens import read_texts
from espnet_s3router.errors import InputError
from espnet_s3router.files import git_commit, write_atomic
from espnet_s3router.methods import METHODS, resolve
from espnet_s3router.results.understanding.intents import split_text
from espnet_s3router.results.understanding.scoring import score_understanding
from espnet_s3router.text_files import write_table
from espnet_s3router.text_intents.model import IntentModel, batches, predict, read_tokeniser
from espnet_s3router.text_intents.options import TextOptions

DENSE = "finetune"
"""The method whose models omp and imp start from."""
MODEL = "model.pt"
TAG = "text"


class Run(NamedTuple):
    """One training run."""

    label: str
    sparsity: float | None
    seed: int

    def folder(self, options: TextOptions) -> Path:
        """Its experiment folder."""
        middle = "" if self.sparsity is None else f"_s{self.sparsity:g}"
        return Path(options.expdir, f"text_{self.label}{middle}_seed{self.seed}")


def runs_of(options: TextOptions, rows: Mapping[str, Any]) -> list[Run]:
    """The runs of the options, the dense models first. Raises InputError for an unknown row."""
    found = []
    for label in sorted(options.methods, key=lambda label: label != DENSE):
        if label not in rows:
            raise InputError(f"--methods: {label!r} is not in {options.methods_config}, which has {', '.join(rows)}")
        sparse = METHODS[rows[label]["mask_conf"].get("method", "")].sparse if _known(rows[label]) else False
        found += [Run(label, s, seed) for s in (options.sparsities if sparse else (None,)) for seed in options.seeds]
    return found


def _known(row: Mapping[str, Any]) -> bool:
    return row.get("mask_conf", {}).get("method") in METHODS


def read_dataset(name: str) -> tuple[list[str], list[str], list[str]]:
    """(utterances, intents, transcripts) of ``data/NAME``. Raises InputError for a text without a transcript."""
    table = {utt: split_text(text) for utt, text in read_texts(Path("data", name)).items()}
    if empty := [utt for utt, text in table.items() if not text.rest]:
        raise InputError(
            f"data/{name}: {len(empty)} texts hold an intent alone, for example {empty[0]}. Expected a transcript too"
        )
    return list(table), [text.intent for text in table.values()], [text.rest for text in table.values()]


def configure(run: Run, options: TextOptions, row: Mapping[str, Any], updates: int) -> dict[str, Any]:
    """The ``mask_conf`` of a run. Sparsity, seed, updates and dense model are filled in where the method has them."""
    conf = dict(row.get("mask_conf") or {})
    name = conf.get("method")
    fields = {field.name for field in dataclasses.fields(METHODS[name].config)} if name in METHODS else set()
    given: dict[str, Any] = {"seed": run.seed, "updates": updates, "sparsity": run.sparsity}
    conf |= {key: value for key, value in given.items() if key in fields and value is not None and key not in conf}
    if conf.get("start") == "dense":
        conf["start"] = str(Run(DENSE, None, run.seed).folder(options) / MODEL)
    resolve(conf)
    return conf


def train(run: Run, options: TextOptions, row: Mapping[str, Any]) -> None:
    """Train a run and write its model, its intents and its scores, unless ``point.json`` says that this is done."""
    folder = run.folder(options)
    _, intents, texts = read_dataset(options.train_set)
    known = sorted(set(intents))
    per_epoch = -(-len(texts) // options.batch_size)
    conf = configure(run, options, row, per_epoch * options.epochs)
    variant = variant_of(conf, options, float(row.get("lr", options.lr)))
    point = folder / "point.json"
    if point.exists():
        if json.loads(point.read_text(encoding="utf-8"))["variant"] != variant:
            raise InputError(f"{folder} holds a run of another configuration. Remove it, or give another --expdir")
        print(f"{folder}: finished before", flush=True)
        return
    torch.manual_seed(run.seed)
    tokeniser = read_tokeniser(options.model)
    model = IntentModel(options.model, len(known), conf).to(options.device)
    started = time.monotonic()
    updates = fit(model, tokeniser, texts, [known.index(intent) for intent in intents], options, row, run.seed)
    seconds = round(time.monotonic() - started, 1)
    folder.mkdir(parents=True, exist_ok=True)
    saved = {"layers": model.layers.state_dict(), "head": model.head.state_dict(), "intents": known}
    torch.save(saved, folder / MODEL)
    for name in options.test_sets:
        score(model, tokeniser, name, known, folder / TAG / name, options)
    about = describe(run, model, conf, options, row) | {"variant": variant, "train_seconds": seconds, "updates": updates}
    write_atomic(point, json.dumps(about, indent=1) + "\n")


def fit(
    model: IntentModel,
    tokeniser: Any,
    texts: list[str],
    labels: list[int],
    options: TextOptions,
    row: Mapping[str, Any],
    seed: int,
) -> int:
    """Train in place. Returns the number of updates. The learning rate falls linearly to zero."""
    attached, generator = model.attached, torch.Generator().manual_seed(seed)
    start = attached.config.get("start")
    attached.begin(dense_weights(Path(start), attached.startable) if start else None)
    body = [parameter for parameter in model.body.parameters() if parameter.requires_grad]
    groups = [{"params": body, "lr": float(row.get("lr", options.lr))}] if body else []
    optimizer = torch.optim.Adam([*groups, {"params": list(model.head.parameters()), "lr": options.head_lr}])
    total = -(-len(texts) // options.batch_size) * options.epochs
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda update: 1 - update / total)
    for epoch in range(1, options.epochs + 1):
        attached.begin_epoch(epoch)
        order = torch.randperm(len(texts), generator=generator).tolist()
        truth = torch.tensor([labels[at] for at in order], device=options.device)
        shuffled = batches(tokeniser, [texts[at] for at in order], options.batch_size)
        for batch, target in zip(shuffled, truth.split(options.batch_size), strict=True):
            loss = functional.cross_entropy(model({name: t.to(options.device) for name, t in batch.items()}), target)
            penalty, _ = attached.penalty()
            optimizer.zero_grad()
            (loss if penalty is None else loss + penalty).backward()
            optimizer.step()
            for masked in attached.masks.values():
                masked.touch()
            attached.update += 1
            attached.step(attached.update, optimizer)
            falling.step()
        attached.end_epoch()
    return attached.update


def dense_weights(path: Path, needed: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a dense model. Raises InputError if it was not trained."""
    if not path.is_file():
        raise InputError(f"{path}: the dense model is missing; add {DENSE} to --methods")
    saved = torch.load(path, weights_only=True)["layers"]
    return {name: saved[name] for name in needed}


def score(model: IntentModel, tokeniser: Any, name: str, known: list[str], folder: Path, options: TextOptions) -> None:
    """Write the intents of a dataset and their scores into ``folder``."""
    utts, intents, texts = read_dataset(name)
    found = predict(model, tokeniser, texts, options.batch_size, options.device)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "ref", dict(zip(utts, intents, strict=True)))
    write_table(folder / "text", {utt: known[number] for utt, number in zip(utts, found, strict=True)})
    score_understanding(folder / "ref", folder / "text", folder)


def variant_of(conf: Mapping[str, Any], options: TextOptions, lr: float) -> str:
    """Hash of what a run learns from, without its seed. A dense model counts as the one of its seed."""
    plain = {key: value for key, value in conf.items() if key not in ("seed", "start")}
    about = [plain, "start" in conf, options.model, options.epochs, options.batch_size, lr, options.head_lr]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:10]


def describe(
    run: Run, model: IntentModel, conf: Mapping[str, Any], options: TextOptions, row: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns of results that do not depend on a score."""
    attached = model.attached
    scores = attached.scores
    method = resolve(conf)[1]
    head = sum(parameter.numel() for parameter in model.head.parameters())
    return {
        "recipe": options.recipe,
        "upstream": Path(options.model).name,
        "split": options.train_set,
        "method": run.label,
        "sparsity": run.sparsity,
        "targets": getattr(method, "targets", None),
        "init": getattr(method, "init", None),
        "lr": float(row.get("lr", options.lr)),
        "seed": run.seed,
        "params_trained": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        "params_total": sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in scores),
        "macs": None,
        "bytes_added": attached.bytes_added() + 4 * head,
        "commit": git_commit(),
        "command": options.command,
    }
