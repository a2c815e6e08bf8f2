"""snips/text1 on a tiny tree in the layout of the corpus, with a tiny random BERT: all stages, as a user calls them."""

import csv

from toy_intents import SNIPS, write_snips
from toy_text_models import write_text_model, write_tokeniser

from local.intents.snips import transcript


def test_from_the_corpus_to_the_page(recipes, tmp_path):
    recipes.recipe = "snips/text1"
    root = write_snips(tmp_path / "smart-lights-en-close-field")
    pieces = [
        text.replace("[", "").replace("]", "").replace("room:", "").replace("color:", "")
        for t in SNIPS.values()
        for text in t
    ]
    size = write_tokeniser(tmp_path / "bert", [transcript(text) for text in pieces])
    model = write_text_model(tmp_path / "bert", "Bert", vocab_size=size)
    data = f"local.intents.snips --root {root} --data_dir data --held_out 3"
    words = ("--model", model, "--methods", "finetune routing", "--sparsities", "0.2", "--epochs", "4", "--batch_size", "4")
    done = recipes.run("./run.sh", *words, "--local_data", data, "--results_md", "RESULTS.md", SNIPS=str(root))
    assert "ACCURACY test %" in done.stdout and "plot: exp/accuracy_against_sparsity.png" in done.stdout
    with (recipes.here / "exp/results.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["metric"] == "accuracy"]
    assert {(row["recipe"], row["method"], row["set"]) for row in rows} == {
        ("snips/text1", method, name) for method in ("finetune", "routing") for name in ("dev", "test")
    }
    assert "command: `./run.sh --model" in (recipes.here / "RESULTS.md").read_text("utf-8")
