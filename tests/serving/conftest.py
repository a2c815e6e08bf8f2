"""Experiments on toy upstreams, as in the tests of the plugin."""

import pytest
import soundfile

from tests.plugin.conftest import (  # noqa: F401  fixtures
    corpus,
    experiment,
    trained,
    trained_like,
    untrained,
    write_experiment,
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
