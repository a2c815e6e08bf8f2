"""docs/quickstart.ipynb runs from top to bottom on small recordings, and ends with the text that the command gives, too."""

import re
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import soundfile
import torch

from espnet_s3router.cli.main import main
from espnet_s3router.results.rows import read_rows
from tests.recipes.conftest import FS, LETTERS, TOY_ARGS, sound, toy_upstream  # noqa: F401  the last one is a fixture

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/quickstart.ipynb"
TRAINING = "max_epoch=1 num_iters_per_epoch=120 scheduler_conf.max_steps=120 optim_conf.head_lr=0.03"


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def recordings(tmp_path):
    """Twenty-four made-up recordings, each with its text beside it."""
    rng, folder = np.random.default_rng(0), tmp_path / "recordings/anna"
    folder.mkdir(parents=True)
    for number in range(24):
        text = "".join(rng.choice(list(LETTERS[:2]), 5))
        soundfile.write(folder / f"{number:02d}.wav", sound(text, rng), FS, subtype="PCM_16")
        (folder / f"{number:02d}.txt").write_text(f"{text}\n", encoding="utf-8")
    return folder.parent


def code_cells(notebook, **changes):
    """Sources of the cells of code. In the cell of choices, lines ``name = …`` get new values."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            source = cell.source
            if "parameters" in cell.metadata.get("tags", ()):
                for name, value in changes.items():
                    source, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", source, flags=re.MULTILINE)
                    assert count == 1
            yield source


@pytest.mark.filterwarnings("ignore")  # of ESPnet and s3prl, in this process
def test_from_recordings_to_a_transcript(recordings, tmp_path, toy_upstream, monkeypatch, capsys):  # noqa: F811
    upstream = " ".join(f"frontend_conf.frontend_conf.{key}={value}" for key, value in toy_upstream.items())
    options = ["--model", "hubert_mini", "--asr_args", f"{TOY_ARGS} {TRAINING} {upstream}"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    pictures, names, outputs = [], {}, []
    monkeypatch.setattr(plt, "show", lambda: pictures.append(plt.gcf()))
    # the cells run in this process, which spares the time of a kernel that imports ESPnet
    for source in code_cells(read(), RECORDINGS=str(recordings), OPTIONS=options, **{"DEV = TEST": 0.2}):
        exec(compile(source, str(NOTEBOOK), "exec"), names)
        outputs.append(capsys.readouterr().out)
    plt.close("all")
    assert len(pictures) == 2

    spoken, recognised = re.findall(r"^(?:spoken|recognised): *(.*)$", outputs[-1], re.MULTILINE)
    recording = Path(names["recording"])
    assert str(recording) in outputs[2] and recording.with_suffix(".txt").read_text("utf-8").strip() == spoken
    assert recognised and set(recognised) <= set(LETTERS)
    words = names["transcript"].words
    assert " ".join(word.text for word in words) == recognised == names["text"]
    seconds = len(names["wave"]) / names["RATE"]
    assert all(0 <= word.start < word.end <= seconds for word in words)
    assert names["probabilities"].sum(dim=1).allclose(torch.ones(len(names["probabilities"])))

    experiments = tmp_path / "quickstart/egs2/s3router/asterisk/asr1/exp"
    rates = {(row.set, row.metric): row.value for row in read_rows(experiments / "results.tsv")}
    assert {"dev", "test"} == {dataset for dataset, metric in rates if metric == "cer"}
    assert f"{rates['test', 'cer']:.1f}" in outputs[3]  # the table of stage 13
    with zipfile.ZipFile(tmp_path / "quickstart/model.zip") as pack:
        card = pack.read("README.md").decode()
    assert "- nl" in card and "cc0-1.0" in card and "mine, train" in card

    assert main(["transcribe", "--model", "quickstart/model.zip", str(recording)]) == 0
    assert capsys.readouterr().out == f"{recording}\tnl\t{recognised}\n"


def test_it_is_committed_without_outputs():
    notebook = read()
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    assert NOTEBOOK.stat().st_size < 20_000
