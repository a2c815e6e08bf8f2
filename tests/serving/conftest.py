"""Experiments on toy upstreams, as in the tests of the plugin."""

import shutil

import pytest
import soundfile

from tests.plugin.conftest import (  # noqa: F401  fixtures
    corpus,
    experiment,
    trained,
    trained_like,
    untrained,
    write_experiment,
    write_trained_like,
)


@pytest.fixture
def bank(trained_like, tmp_path):  # noqa: F811
    """A folder with the routes nl and es, one broken file, and two recordings beside it."""
    from espnet_s3router.plugin.deployment import route

    folder = tmp_path / "routes"
    folder.mkdir()
    for seed, name in enumerate(("nl", "es")):
        files = trained_like(name=name, seed=seed, mask_conf={"method": "routing", "sparsity": 0.2})
        route.write_experiment(*files, folder / f"{name}.route")
    (folder / "ru.route").write_bytes(b"nothing")
    for number, seconds in enumerate((1.3, 3.1)):
        soundfile.write(tmp_path / f"{number}.wav", route.speech_like(seconds).numpy(), 16000, subtype="FLOAT")
    return folder


@pytest.fixture(scope="session")
def routes_abc(write_experiment, tmp_path_factory):  # noqa: F811
    """A folder with the routes a, b and c, of different masks, sparsities and heads. Read it only."""
    from espnet_s3router.plugin.deployment import route

    experiments, folder = tmp_path_factory.mktemp("experiments"), tmp_path_factory.mktemp("routes")
    for seed, (name, sparsity) in enumerate({"a": 0.1, "b": 0.3, "c": 0.6}.items()):
        mask_conf = {"method": "routing", "sparsity": sparsity}
        files = write_trained_like(write_experiment, experiments, name, seed, mask_conf=mask_conf)
        route.write_experiment(*files, folder / f"{name}.route", metadata={"language": name})
    return folder


@pytest.fixture
def abc(routes_abc, tmp_path):
    """A copy of ``routes_abc`` that a test may change."""
    return shutil.copytree(routes_abc, tmp_path / "routes")
