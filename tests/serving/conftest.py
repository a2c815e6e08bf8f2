"""Experiments on toy upstreams, as in the tests of the plugin."""

from tests.plugin.conftest import (  # noqa: F401  fixtures
    corpus,
    experiment,
    trained,
    trained_like,
    untrained,
    write_experiment,
)
