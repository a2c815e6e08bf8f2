"""Experiment folders as training and scoring leave them, without either, and rows of results."""

import json

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
