"""Decoding of one dataset in parts, which are those of languages and of --inference_nj."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from espnet_s3router.errors import InputError
from espnet_s3router.experiments.single.decoding import _run_decoders


@pytest.fixture
def children(monkeypatch):
    """Lists of what started, and of how many ran at a time. The part "bad" fails."""
    seen = SimpleNamespace(started=[], running=[], alive=0)

    class Child:
        def __init__(self, command):
            self.part = command[-1]
            seen.started.append(self.part)
            seen.alive += 1
            seen.running.append(seen.alive)

        def wait(self):
            seen.alive -= 1
            return int(self.part == "bad")

    monkeypatch.setattr(subprocess, "Popen", Child)
    return seen


def test_parts_of_many_languages_run_as_many_at_a_time_as_requested(children):
    _run_decoders("module", [[f"part{n}"] for n in range(5)], 2)
    assert children.started == [f"part{n}" for n in range(5)] and max(children.running) == 2


def test_one_at_a_time_needs_no_process(children, monkeypatch):
    done = []
    monkeypatch.setitem(sys.modules, "decoder", SimpleNamespace(main=done.append))
    _run_decoders("decoder", [["en"], ["es"]], 1)
    assert done == [["en"], ["es"]] and not children.started


def test_failed_parts_are_counted(children):
    with pytest.raises(InputError, match="2 of 3 decoding jobs failed"):
        _run_decoders("module", [["bad"], ["good"], ["bad"]], 2)
