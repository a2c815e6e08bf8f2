"""Packs of experiments on toy upstreams."""

from pathlib import Path

import pytest
import soundfile

from tests.plugin.conftest import (  # noqa: F401  fixtures
    corpus,
    trained,
    write_experiment,
)

FACTS = {"language": "nl", "corpus": "toy/asr1", "licence": "CC0-1.0", "metrics": {"test_cer": 31.2}, "seed": 0}


@pytest.fixture(scope="session")
def audio(tmp_path_factory):
    """A recording of 1.3 seconds."""
    from espnet_s3router.plugin.deployment.route import speech_like

    path = tmp_path_factory.mktemp("audio") / "a.wav"
    soundfile.write(path, speech_like(1.3).numpy(), 16000, subtype="FLOAT")
    return path


@pytest.fixture(scope="session")
def wave(audio):
    """Its samples."""
    import torch

    return torch.from_numpy(soundfile.read(audio, dtype="float32")[0])


@pytest.fixture(scope="session")
def routes(trained, tmp_path_factory):  # noqa: F811
    """Route files of two languages on one base, with what their makers know."""
    from espnet_s3router.plugin.deployment import route

    folder, run = tmp_path_factory.mktemp("routes"), trained("routing")
    for language, model in {"nl": "1epoch.pth", "de": "2epoch.pth"}.items():
        facts = FACTS | {"language": language}
        route.write_experiment(run / "config.yaml", run / model, folder / f"{language}.route", metadata=facts)
    return sorted(folder.glob("*.route"))


@pytest.fixture(scope="session")
def packed_routes(routes, wave, tmp_path_factory):
    """A pack of two routes, with their base inside."""
    from espnet_s3router.zoo.routes import pack_routes

    return pack_routes(routes, tmp_path_factory.mktemp("packed") / "two.zip", base_licence="MIT", waves=[wave])


@pytest.fixture(scope="session")
def packed_baked(trained, wave, tmp_path_factory):  # noqa: F811
    """A pack of a baked experiment."""
    from espnet_s3router.zoo.baked import pack_baked

    run, out = trained("routing"), tmp_path_factory.mktemp("packed") / "nl.zip"
    return pack_baked(run / "config.yaml", run / "valid.loss.ave.pth", out, facts=FACTS, base_licence="MIT", waves=[wave])


@pytest.fixture
def unpacked(packed_routes, tmp_path):
    """The pack of routes as a folder that a test may change."""
    from espnet_s3router.zoo.archive import extract

    folder = Path(tmp_path / "pack")
    extract(packed_routes.path, folder)
    return folder
