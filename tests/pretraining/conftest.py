"""A synthetic corpus: tones of changing pitch between silences."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_s3router.pretraining.clusters import read_labels, write_labels
from espnet_s3router.pretraining.features import mfcc
from espnet_s3router.pretraining.recordings import find_recordings
from espnet_s3router.pretraining.store import read_store, write_store
from espnet_s3router.text_files import write_table

COUNT, RATE = 120, 16000
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_feat_extract_layers": 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


def tone(rng: np.random.Generator, seconds: float) -> np.ndarray:
    pitch = np.repeat(rng.choice([200.0, 700.0, 2000.0], int(seconds * 10) + 1), RATE // 10)[: int(seconds * RATE)]
    return (0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)).astype(np.float32)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A Kaldi-style folder of COUNT recordings with 0.4 s of near silence before and after the sound."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    wav = {}
    for number in range(COUNT):
        silence = 1e-4 * rng.standard_normal(int(0.4 * RATE))
        path = folder / f"tone{number:03}.wav"
        soundfile.write(path, np.concatenate([silence, tone(rng, rng.uniform(0.8, 2.0)), silence]), RATE, subtype="PCM_16")
        wav[f"tone{number:03}"] = str(path)
    write_table(folder / "wav.scp", wav)
    return folder


@pytest.fixture(scope="session")
def dump(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dump") / "store"
    write_store(folder, find_recordings([corpus]))
    return folder


@pytest.fixture(scope="session")
def store(dump):
    return read_store(dump)


@pytest.fixture(scope="session")
def labels_folder(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "labels1"
    write_labels(store, folder, mfcc, 8, 0, {"features": "mfcc"})
    return folder


@pytest.fixture(scope="session")
def labels(labels_folder, store):
    return read_labels(labels_folder, store)
