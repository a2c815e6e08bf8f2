"""Runs of the recipes of spoken language understanding, on tiny corpora and a tiny upstream."""

import csv
from pathlib import Path

import pytest

from tests.recipes.staged import run_stages

UPDATES = "max_epoch=1 num_iters_per_epoch=2 scheduler_conf.max_steps=2 optim_conf.head_lr=0.01 batch_bins=40000"
OPTIONS = (
    "--model",
    "hubert_mini",
    "--nj",
    "1",
    "--parallel",
    "1",
    "--asr_args",
    UPDATES,
    "--methods",
    "routing",
    "--sparsities",
    "0.1",
)


class Finished:
    """What a recipe left after stage 13."""

    def __init__(self, here: Path, printed: str, told: str, options: Path) -> None:
        self.here, self.printed, self.told, self.exp, self.options = here, printed, told, here / "exp", options

    def rows(self) -> dict[tuple[str, str], float]:
        """(dataset, metric) -> value."""
        with (self.exp / "results.tsv").open(encoding="utf-8") as file:
            return {(row["set"], row["metric"]): float(row["value"]) for row in csv.DictReader(file, delimiter="\t")}

    def decoded(self, name: str) -> dict[str, str]:
        """Utterance -> decoded text of a dataset."""
        (path,) = self.exp.glob(f"*/*/{name}/text")
        pairs = (line.partition(" ") for line in path.read_text("utf-8").splitlines())
        return {key: text for key, _, text in pairs}

    def references(self, name: str, dump: str = "dump", whole: bool = False) -> dict[str, str]:
        """Utterance -> reference text of a test set. ``whole``: as the validation set is decoded, without a filter."""
        lines = (self.here / dump / "raw" / ("whole" if whole else "") / name / "text").read_text("utf-8").splitlines()
        return {line.split(" ", 1)[0]: line.partition(" ")[2] for line in lines}

    def accuracy(self, name: str, dump: str = "dump", whole: bool = False) -> float:
        """Share in percent of the utterances whose first word is right, counted here."""
        decoded, references = self.decoded(name), self.references(name, dump, whole)
        assert decoded.keys() == references.keys()
        right = [decoded[key].split()[:1] == references[key].split()[:1] for key in references]
        return 100 * sum(right) / len(right)


@pytest.fixture(scope="package")
def finished(tmp_path_factory, copying):
    """finished(recipe, prepare, *options, **environment): all stages; ``prepare(here)`` is called in the copy before."""

    def run(recipe, *options, prepare=lambda here: None, **environment):
        recipes = copying(tmp_path_factory.mktemp("understanding"))
        recipes.recipe = recipe
        prepare(recipes.here)
        kept = tmp_path_factory.mktemp("kept")
        done, printed = run_stages(recipes, *OPTIONS, *options, kept=kept, **environment)
        return Finished(recipes.here, printed, done.stderr, kept / "grid.yaml")

    return run
