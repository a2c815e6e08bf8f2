"""Pages of results that are committed follow from the rows that are committed beside them."""

import pytest

from espnet_s3router.recipe.results import read_rows
from espnet_s3router.recipe.sweep_report import DENSE
from espnet_s3router.recipe.sweep_table import cells, chosen, table
from espnet_s3router.recipe.table import METRICS
from tests.recipes.conftest import ROOT


@pytest.mark.parametrize(("page", "rows"), [("RESULTS", "whisper_tiny_en"), ("RESULTS_hubert_mini", "hubert_mini")])
def test_pruning_on_asterisk(page, rows):
    recipe = ROOT / "egs2/s3router/asterisk/prune1"
    page = (recipe / f"{page}.md").read_text("utf-8").splitlines()
    rows = read_rows(recipe / f"results/{rows}.tsv")
    rows = [row for row in rows if row.method == DENSE or row.sparsity is not None]
    best = chosen(rows, ["dev_en"])
    sparsities = sorted({sparsity for _, sparsity in best if sparsity is not None})
    for metric in METRICS:
        for line in table(cells(rows, best.values(), ["test_en"], metric), sparsities):
            assert f"|{'|'.join(line)}|" in page
