"""Committed pages of results follow from the rows that are committed beside them, and rows from the requested sparsity."""

from math import floor

import pytest

from espnet_s3router.results import tables
from espnet_s3router.results.pages.document import body, counts_file
from espnet_s3router.results.pages.remake import remake
from espnet_s3router.results.pages.sweep import DENSE
from espnet_s3router.results.rows import MODEL_METRIC, read_rows
from espnet_s3router.results.select import best_on_dev, mean, rates_of_rows
from tests.recipes.conftest import ROOT

PRUNE1 = ROOT / "egs2/s3router/asterisk/prune1"
PAGES = sorted(ROOT.glob("egs2/s3router/*/*/RESULTS*.md"))
MADE_BEFORE = "Made before per-utterance counts were kept: intervals cannot be remade from the rows beside it."
SHAPES = {"hf_whisper_custom/whisper_tiny_en": (384, 1536, 4), "s3router_hubert_mini": (256, 1024, 6)}
"""Upstream -> width, inner width and number of its layers."""


@pytest.mark.parametrize(
    ("page", "rows"),
    [
        ("RESULTS", "whisper_tiny_en"),
        ("RESULTS_hubert_mini", "hubert_mini"),
        ("RESULTS_low_sparsity", "low_sparsity/whisper_tiny_en"),
        ("RESULTS_quick", "quick/whisper_tiny_en"),
    ],
)
def test_pruning_on_asterisk(page, rows):
    page = (PRUNE1 / f"{page}.md").read_text("utf-8").splitlines()
    rows = read_rows(PRUNE1 / f"results/{rows}.tsv")
    rows = [row for row in rows if row.method == DENSE or row.sparsity is not None]
    best = best_on_dev(rates_of_rows(rows, ["dev_en"], "cer"))
    sparsities = sorted({sparsity for _, sparsity in best if sparsity is not None})
    for metric in ("cer", "wer"):
        rates = rates_of_rows(rows, ["test_en"], metric)
        for line in tables.error_rates({variant: rates[variant] for variant in best.values()}, sparsities):
            assert f"|{'|'.join(line)}|" in page


@pytest.mark.parametrize(
    ("page", "rows"),
    [
        ("asterisk/asr1/RESULTS", "asterisk/asr1/results/whisper_tiny_en"),
        ("asterisk/asr1/RESULTS_hubert_mini", "asterisk/asr1/results/hubert_mini"),
        ("ssl/ssl1/RESULTS", "ssl/ssl1/results/downstream"),
    ],
)
def test_tables_of_systems(page, rows):
    """Every line has the rates of a variant among the rows, with as many seeds."""
    lines = (ROOT / f"egs2/s3router/{page}.md").read_text("utf-8").splitlines()
    (top,) = (number for number, line in enumerate(lines) if "CER dev %" in line)
    head, _, *body = ([cell.strip() for cell in line.split("|")] for line in lines[top : lines.index("", top)])
    rows = read_rows(ROOT / f"egs2/s3router/{rows}.tsv")
    columns = {
        f"{metric.upper()} {part} %": ([f"{part}_en"], metric) for metric in ("cer", "wer") for part in ("dev", "test")
    }
    assert set(columns) <= set(head) and len(body) >= 3
    for cells_of_line in body:
        line = dict(zip(head, cells_of_line))
        sparsity = float(line["sparsity"]) if line["sparsity"] not in ("", "–") else None
        about = [row for row in rows if (row.method, row.sparsity) == (line["method"].split()[0], sparsity)]
        about = [row for row in about if row.upstream.endswith(line.get("upstream", ""))]
        found = {}
        for column, (sets, metric) in columns.items():
            for variant, by_seed in rates_of_rows(about, sets, metric).items():
                names = sorted(by_seed)  # a page lists the seeds, or says how many there are
                agrees = line[column].split()[0] == f"{mean(list(by_seed.values())):.1f}"
                agrees &= line["seeds"] in (",".join(map(str, names)), str(len(names)))
                found.setdefault(variant, []).append(agrees)
        assert len(columns) * [True] in found.values(), f"{page}: no rows say {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.parent.name}-{page.stem}")
def test_a_page_is_made_again_from_its_counts_or_says_why_not(page):
    text = page.read_text("utf-8")
    if counts_file(page).exists():
        assert body(remake(page)) == body(text)
    else:
        assert MADE_BEFORE in text.partition("\n\n## ")[0]


@pytest.mark.parametrize("path", sorted(PRUNE1.glob("results/**/*.tsv")), ids=lambda path: str(path.relative_to(PRUNE1)))
def test_every_model_is_exactly_as_sparse_as_requested(path):
    """Over all matrices together, or over each where masks are learned."""
    rows = read_rows(path)
    counted = {}
    for row in rows:
        if row.metric.startswith(MODEL_METRIC):
            model = (row.upstream, row.method, row.sparsity, row.variant, row.seed)
            counted.setdefault(model, {})[row.metric.removeprefix(MODEL_METRIC)] = row.value
    assert counted.keys() == {(row.upstream, row.method, row.sparsity, row.variant, row.seed) for row in rows}
    for (upstream, method, sparsity, *_), found in counted.items():
        width, inner, layers = SHAPES[upstream]
        matrices = layers * (4 * [width * width] + 2 * [width * inner])
        if sparsity is None:
            assert found["entries"] == found["zeros"] == found["masked"] == 0
            continue
        learned = method.startswith(("routing_prune", "movement")) and method != "routing_prune_global"
        ranked = matrices if learned else [sum(matrices)]
        expected = sum(floor(sparsity * size + 0.5) for size in ranked)
        assert (found["entries"], found["zeros"]) == (sum(matrices), expected), method
        assert found["masked"] == expected / sum(matrices)
