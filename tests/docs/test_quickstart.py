"""docs/quickstart.ipynb runs from top to bottom on small recordings, and ends with the text that the command gives, too."""

import re
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
import soundfile

from espnet_s3router.cli.main import main
from tests.recipes.conftest import FS, LETTERS, LONGEST_S, TOY_ARGS, sound, toy_upstream  # noqa: F401  the last one is a fixture

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


def printed(cell):
    """What a cell wrote to its standard output."""
    return "".join(output["text"] for output in cell.outputs if output["output_type"] == "stream")


@pytest.mark.filterwarnings("ignore")  # of Jupyter
def test_from_recordings_to_a_transcript(recordings, tmp_path, toy_upstream, monkeypatch, capsys):  # noqa: F811
    notebook = read()
    (choices,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    upstream = ["--upstream", toy_upstream["upstream"], "--upstream_path", toy_upstream["path_or_url"]]
    options = [*upstream, "--asr_args", f"{TOY_ARGS} {TRAINING}"]
    changes = {"RECORDINGS": str(recordings), "DEV = TEST": 0.2, "OPTIONS": options}
    for name, value in changes.items():
        choices.source, count = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", choices.source, flags=re.MULTILINE)
        assert count == 1
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    nbclient.NotebookClient(notebook, timeout=3 * LONGEST_S, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    spoken, of_python = re.findall(r"^(?:spoken|recognised): *(.*)$", printed(cells[-1]), re.MULTILINE)
    assert of_python and set(of_python + spoken) <= set(LETTERS)
    recording = next(path for path in sorted(recordings.rglob("*.wav")) if str(path) in printed(cells[2]))
    assert recording.with_suffix(".txt").read_text("utf-8").strip() == spoken
    capsys.readouterr()
    assert main(["transcribe", "--model", str(tmp_path / "quickstart/model.zip"), str(recording)]) == 0
    assert capsys.readouterr().out == f"{recording}\tnl\t{of_python}\n"
    assert (tmp_path / "quickstart/egs2/s3router/asterisk/asr1/exp/results.tsv").is_file()
    pictures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2


def test_it_is_committed_without_outputs():
    notebook = read()
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    assert NOTEBOOK.stat().st_size < 20_000
