"""Experiment folders as training and scoring leave them, without either, and rows of results."""

import json
from dataclasses import replace

from espnet_s3router.results.rows import ResultRow

UTTERANCES = [f"u{i:02d}" for i in range(20)]
ROW = ResultRow(
    **{"recipe": "toy/prune1", "upstream": "mini", "split": "10min", "set": "test", "method": "omp", "variant": "ab"},
    **{"sparsity": 0.5, "targets": "all", "init": "", "lr": 1e-3, "seed": 0, "metric": "cer", "value": 50.0, "macs": None},
    **{"params_trained": 9, "params_total": 9, "bytes_added": 9, "train_seconds": 9.5, "updates": 9, "commit": "1a2b3c4"},
)


def add_point(expdir, name, method, errors, *, sparsity=None, seed=1, sets=("dev", "test"), decoded="inference", **changes):
    """A folder whose every utterance has ten words and characters, ``errors`` of them substituted."""
    info = {
        **{
            "recipe": "toy/asr1",
            "upstream": "mini",
            "split": "10min",
            "method": method,
            "sparsity": sparsity,
        },
        **{"variant": f"{method}{sparsity}", "targets": None, "init": None, "lr": 1e-3, "seed": seed},
        **{"params_trained": 1234567, "params_total": 5000000, "macs": None, "bytes_added": 37000},
        **{"train_seconds": 75.4, "updates": 600, "commit": "1a2b3c4"},
    } | changes
    for number, name_of_set in enumerate(sets):
        folder = expdir / name / decoded / name_of_set
        folder.mkdir(parents=True)
        wrong = errors[number] if isinstance(errors, tuple) else errors
        counts = dict.fromkeys(UTTERANCES, [10 - wrong, wrong, 0, 0])
        (folder / "counts.json").write_text(json.dumps({"wer": counts, "cer": counts}))
    (expdir / name / "point.json").write_text(json.dumps(info))


def rows_of(method, sparsity, wrong, *, variant="v", seed=0, tokens=10, sets=("dev", "test")):
    """Both metrics: so many of ``tokens`` substituted; ``wrong``: one number for all sets, or one a set."""
    made = []
    for name, errors in zip(sets, wrong if isinstance(wrong, tuple) else [wrong] * len(sets)):
        about = {"method": method, "sparsity": sparsity, "variant": variant, "seed": seed, "set": name}
        counts = {"hits": tokens - errors, "substitutions": errors, "deletions": 0, "insertions": 0}
        for metric in ("cer", "wer"):
            values = {metric: 100 * errors / tokens} | {f"{metric}_{kind}": value for kind, value in counts.items()}
            made += [replace(ROW, **about, metric=name_of_it, value=float(value)) for name_of_it, value in values.items()]
    return made


def add_run(expdir, name, method, wrong, **changes):
    """A folder whose first ``wrong`` utterances have one word error each, with word alignments."""
    add_point(expdir, name, method, 0, **changes)
    steps = {key: ("S" if number < wrong else "C") + 9 * "C" for number, key in enumerate(UTTERANCES)}
    counts = {key: [text.count(letter) for letter in "CSDI"] for key, text in steps.items()}
    for name_of_set in ("dev", "test"):
        folder = expdir / name / "inference" / name_of_set
        (folder / "counts.json").write_text(json.dumps({"wer": counts, "cer": counts}))
        (folder / "word_alignments.json").write_text(json.dumps(steps))


def add_grid(expdir):
    """Four folders of one seed; the second sparsity of routing is the best on dev, the first on test."""
    add_point(expdir, "finetune", "finetune", 2)
    add_point(expdir, "head_only", "head_only", 4)
    add_point(expdir, "routing_04", "routing", (3, 1), sparsity=0.04)
    add_point(expdir, "routing_08", "routing", (2, 2), sparsity=0.08)
    return expdir
