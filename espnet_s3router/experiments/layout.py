"""Names of the files and folders that the stages leave: below dump, and in each experiment folder below exp.

``exp/<experiment>/`` is the folder of one training run; ``exp/<experiment>/<decoding tag>/<dataset>/`` holds decoded text.
"""

from dataclasses import dataclass
from pathlib import Path

# Datasets
UNFILTERED = "whole"
"""Below dump/raw: the validation set as it is decoded, without the filter of training."""
LENGTHS, TEXT, AUDIO = "utt2num_samples", "text", "wav.scp"

# Folder of the statistics
COLLECTED = ".collected"
"""Marker of stage 10: the names and digests of the data."""
COLLECT_LOG = "collect.log"

# Experiments
STATS_EXPERIMENT = ".stats"
"""Below exp: the configuration that stage 10 ran with."""
OPTIONS = ".options"
"""Below exp: the options files of runs, named by their digests."""
RESULTS = "results.tsv"

# One experiment folder
TRAIN_CONFIG = "train.yaml"
"""The resolved configuration of the run; ESPnet reads it."""
ESPNET_CONFIG = "config.yaml"
"""What ESPnet writes when training starts: all options and the token list."""
PROVENANCE = "begun.json"
"""The commit, the command and the models that the run started from."""
RUN_LOG, TRAIN_LOG = "run.log", "train.log"
PROGRESS = "progress.tsv"
"""One row per epoch, written by our trainer."""
MODEL_INFO = "model.json"
"""Numbers of parameters and zeros of the trained model."""
CHECKPOINTS = ("checkpoint.pth", "checkpoint.previous.pth")
"""What an interrupted run resumes from."""
RUN_INFO = "point.json"
"""What was trained: the columns of results.tsv that do not depend on a score."""
TRAINED = ".trained"
"""Marker of stage 11."""
ROUTE_METADATA = "route_metadata.json"
"""What is known of the run, for its route file."""
ROUTE_INFO = "route.json"
"""What stage 17 wrote: the route file with its bytes, a baked model, models in ONNX, or why there are none."""
BAKED = "baked"
"""Folder of the baked model."""
SHRUNK = "shrunk"
"""Folder of the smaller model of a run that removes units."""
SHRUNK_INFO = "shrunk.json"
"""What is known of it: sizes, speed, and how far its outputs are from those of the trained model."""
SHRUNK_MARKER = ".shrunk"
"""Marker: the model that it was made from."""
EXPORTED = "onnx"
"""Folder of the models in ONNX."""
DEPLOYED = ".deployed"
"""Marker of stage 17: all that its output depends on."""

# One decoded dataset
DECODED = ".decoded"
"""Marker of stage 12: the options and the data that were decoded with."""
SCORED = ".scored"
"""Marker of stage 13: the reference text and the symbols that were left out."""
LANGUAGES = "languages"
"""In an experiment folder of several languages: an experiment of each, which decodes."""
COUNTS = "counts.json"
"""Errors of every utterance."""


def is_trained(folder: Path) -> bool:
    """True if stage 11 is finished in an experiment folder."""
    return (folder / TRAINED).exists()


def is_started(folder: Path) -> bool:
    """True if at least one epoch was trained there. Otherwise the run failed at once, and nothing is lost with it."""
    return any((folder / name).exists() for name in (*CHECKPOINTS, TRAINED))


@dataclass(frozen=True)
class Progress:
    """The last epoch of ``progress.tsv``; seconds and updates are sums over all epochs."""

    epoch: int = 0
    max_epoch: int = 0
    updates: int = 0
    train_seconds: float = 0.0
    last_updates: int = 0
    """Updates of the last epoch alone."""


def read_progress(path: Path) -> Progress:
    """Progress of a run; zeros before the first epoch has ended."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    if not lines:
        return Progress()
    rows = [line.split("\t") for line in lines]
    epoch, max_epoch, last_updates = map(int, rows[-1][:3])
    return Progress(epoch, max_epoch, sum(int(row[2]) for row in rows), sum(float(row[3]) for row in rows), last_updates)
