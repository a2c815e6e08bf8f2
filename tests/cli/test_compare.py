"""``s3router compare``: its figures are those of the scores, computed here from the counts."""

import json
import statistics

import numpy as np
import pytest

from espnet_s3router.cli.main import main
from espnet_s3router.results.matched_pairs import holm, matched_pairs

INFO = {
    "recipe": "toy/asr1",
    "upstream": "toy",
    "split": "10min",
    "variant": "0123456789",
    "sparsity": None,
    "targets": "",
    "init": "",
    "lr": 0.001,
    "params_trained": 7000,
    "params_total": 9000,
    "macs": None,
    "bytes_added": 28000,
    "train_seconds": 60.0,
    "updates": 100,
    "commit": "abc",
}
WORDS = {"a": 5, "b": 4, "c": 6}
STEPS = {
    ("finetune", 0): {"a": "CCSCC", "b": "SSCC", "c": "CCCCDD"},
    ("finetune", 1): {"a": "CCSCC", "b": "SCCC", "c": "CCCCCD"},
    ("routing", 0): {"a": "CCCCC", "b": "SCCC", "c": "SSDCCC"},
    ("routing", 1): {"a": "CCSCC", "b": "CCCC", "c": "CCCCCC"},
}
"""Method and seed -> utterance -> alignment of the words."""


def counts(steps):
    return [steps.count(letter) for letter in "CSDI"]


@pytest.fixture
def exp(tmp_path):
    """A folder of four scored experiments."""
    for (method, seed), alignments in STEPS.items():
        run = tmp_path / "exp" / f"asr_{method}_seed{seed}"
        scores = run / "decode/test"
        scores.mkdir(parents=True)
        masked = {"sparsity": 0.08, "targets": "all"} if method == "routing" else {}
        (run / "point.json").write_text(json.dumps(INFO | masked | {"method": method, "seed": seed}), encoding="utf-8")
        table = {"wer": {utt: counts(steps) for utt, steps in alignments.items()}}
        (scores / "counts.json").write_text(json.dumps(table), encoding="utf-8")
        (scores / "word_alignments.json").write_text(json.dumps(alignments), encoding="utf-8")
    return tmp_path / "exp"


def rate(method, seed):
    errors = sum(len(steps) - steps.count("C") for steps in STEPS[method, seed].values())
    return 100 * errors / sum(WORDS.values())


def compared(exp, capsys, *words):
    assert main(["compare", *words, str(exp)]) == 0
    return capsys.readouterr().out


def test_figures(exp, capsys):
    found = json.loads(compared(exp, capsys, "--json"))
    rows = {row["system"].split()[0]: row for row in found["rates"]}
    for method, row in rows.items():
        rates = [rate(method, seed) for seed in (0, 1)]
        text = f"{statistics.mean(rates):.1f} ± {statistics.stdev(rates):.1f} ["
        assert row["WER test %"].startswith(text) and row["seeds"] == "0 1"
    assert rows["routing"]["sparsity"] == "0.08" and rows["finetune"]["bytes"] == "28.0 kB"
    (line,) = found["comparisons"]
    change = np.mean([rate("routing", s) for s in (0, 1)]) / np.mean([rate("finetune", s) for s in (0, 1)]) - 1
    assert line["relative difference %"].startswith(f"{100 * change:+.1f} [")
    sides = [[list(STEPS[method, seed].values()) for seed in (0, 1)] for method in ("routing", "finetune")]
    (p,) = holm([matched_pairs(*sides).p])
    assert p > 0.01 and line["p (matched pairs, Holm)"] == f"p = {p:.2f}".replace("0.", ".")


def test_real_time_factors(exp, capsys, tmp_path, monkeypatch):
    """A dash without a figure; what the runs recorded; what is measured now, of the first seed and the decoded model."""
    import soundfile
    import torch

    from espnet_s3router.plugin.deployment import speed

    capsys.readouterr()  # ESPnet prints when it is imported for the first time

    def column(*words):
        return {row["system"].split()[0]: row["RTF"] for row in json.loads(compared(exp, capsys, *words, "--json"))["rates"]}

    assert column() == {"finetune": "–", "routing": "–"}
    for seed, rtf in enumerate((0.02, 0.04)):
        (exp / f"asr_routing_seed{seed}/shrunk").mkdir()
        (exp / f"asr_routing_seed{seed}/shrunk.json").write_text(json.dumps({"rtf": rtf, "rtf_dense": 1.0}))
    assert column() == {"finetune": "–", "routing": "0.0300"}
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(8000)) / 2, 16000)
    (exp / "asr_finetune_seed0/decode/test/.decoded").write_text(json.dumps({"model": "valid.acc.best.pth"}))
    asked = []

    def experiment_rtf(experiment, waves, model_file):
        asked.append((experiment.name, model_file))
        assert [tuple(wave.shape) for wave in waves] == [(8000,)] and waves[0].dtype == torch.float32
        return 0.5

    monkeypatch.setattr(speed, "experiment_rtf", experiment_rtf)
    assert column("--measure_rtf", str(tmp_path / "a.wav"), "--sets", "test") == {"finetune": "0.5000", "routing": "0.5000"}
    assert asked == [("asr_finetune_seed0", "valid.acc.best.pth"), ("asr_routing_seed0", None)]


def test_formats_hold_the_same_cells(exp, capsys):
    tsv = compared(exp, capsys, "--format", "tsv")
    cells = [line.split("\t") for line in tsv.splitlines() if line]
    markdown = compared(exp, capsys, "--format", "markdown")
    for row in cells:
        assert f"|{'|'.join(row)}|" in markdown
    html = compared(exp, capsys, "--format", "html")
    assert all(f"<td>{cell}</td>" in html or f"<th>{cell}</th>" in html for row in cells for cell in row if "<" not in cell)
    assert "rates: mean ± standard deviation" in compared(exp, capsys)


def test_another_baseline(exp, capsys):
    table = compared(exp, capsys, "--baseline", "routing s0.08", "--format", "tsv").split("\n\n")[1]
    assert [line.split("\t")[:2] for line in table.splitlines()[1:]] == [["finetune", "routing s0.08"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--baseline", "lora"], "the baseline is 'lora', expected one of finetune, routing s0.08"),
        (["--sets", "dev"], "dev was not decoded by every run; all have test"),
    ],
)
def test_wrong_names(exp, capsys, words, message):
    assert main(["compare", str(exp), *words]) == 1
    assert message in capsys.readouterr().err


def test_runs_that_are_not_scored(exp, capsys):
    (exp / "asr_routing_seed0/decode/test/counts.json").unlink()
    assert main(["compare", str(exp)]) == 1
    assert "asr_routing_seed0: is trained, but not scored" in capsys.readouterr().err
    assert main(["compare", str(exp / "none")]) == 1
    assert "no folder with a point.json" in capsys.readouterr().err
