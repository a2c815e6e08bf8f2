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


@pytest.fixture(scope="session")
def two_routes(write_experiment, tmp_path_factory):  # noqa: F811
    """A folder ``routes`` with nl, es and one broken file, and two recordings beside it. Read it only."""
    from espnet_s3router.plugin.deployment import route

    experiments, made = tmp_path_factory.mktemp("experiments"), tmp_path_factory.mktemp("two_routes")
    (made / "routes").mkdir()
    for seed, name in enumerate(("nl", "es")):
        mask_conf = {"method": "routing", "sparsity": 0.2}
        files = write_trained_like(write_experiment, experiments, name, seed, mask_conf=mask_conf)
        route.write_experiment(*files, made / f"routes/{name}.route")
    (made / "routes/ru.route").write_bytes(b"nothing")
    for number, seconds in enumerate((1.3, 3.1)):
        soundfile.write(made / f"{number}.wav", route.speech_like(seconds).numpy(), 16000, subtype="FLOAT")
    return made


@pytest.fixture
def bank(two_routes, tmp_path):
    """The folder of routes in a copy of ``two_routes`` that a test may change."""
    return shutil.copytree(two_routes, tmp_path, dirs_exist_ok=True) / "routes"


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
