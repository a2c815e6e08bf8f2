"""A made-up corpus for the tests of data directories."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_s3router.data.data_dir import DataDir, write_data_dir


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three utterances of one second of noise, two speakers."""
    texts = {"a-1": "yes", "a-2": "press one", "b-1": "thank you"}
    wav = {utt: str(tmp_path / f"{utt}.wav") for utt in texts}
    for seed, path in enumerate(wav.values()):
        soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(16000), 16000)
    write_data_dir(tmp_path / "data", DataDir(wav, texts, {utt: utt[0] for utt in texts}))
    return tmp_path / "data"
