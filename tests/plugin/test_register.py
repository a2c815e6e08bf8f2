"""Registration with ESPnet, in this process and in spawned ones."""

import pickle
import subprocess
import sys
from types import ModuleType

import pytest

from espnet_s3router.plugin.training.task import S3RouterASRTask


def test_registered_with_every_task():
    """ESPnet's Speech2Text and Speech2Understand hard-code their task: the frontend must be known there too."""
    import espnet2.tasks.asr
    import espnet2.tasks.slu

    from espnet_s3router.plugin import register
    from espnet_s3router.plugin.frontend import MaskedUpstream

    register()  # a second time, as a spawned worker may
    for module in (espnet2.tasks.asr, espnet2.tasks.slu):
        assert module.frontend_choices.get_class("masked_upstream") is MaskedUpstream


def test_registered_with_espnet3():
    """Its copy of the task has its own table of frontends."""
    task = pytest.importorskip("espnet3.systems.esp2_asr.task", exc_type=ImportError)
    from espnet_s3router.plugin.frontend import MaskedUpstream

    assert task.frontend_choices in task.ASRTask.class_choices_list
    assert task.frontend_choices.get_class("masked_upstream") is MaskedUpstream


def test_registered_where_espnet3_could_be_imported(monkeypatch):
    """With a stand-in for the module, which most ESPnet versions lack."""
    from espnet2.asr.frontend.abs_frontend import AbsFrontend
    from espnet2.train.class_choices import ClassChoices

    from espnet_s3router.plugin import register
    from espnet_s3router.plugin.frontend import MaskedUpstream

    task = ModuleType("espnet3.systems.esp2_asr.task")
    task.frontend_choices = ClassChoices("frontend", classes={}, type_check=AbsFrontend)
    monkeypatch.setitem(sys.modules, task.__name__, task)
    register()
    assert task.frontend_choices.get_class("masked_upstream") is MaskedUpstream


def test_a_spawned_process_knows_the_frontend():
    """Such a process receives only a reference to the function that it runs."""
    script = "import pickle, sys; pickle.load(sys.stdin.buffer); from espnet2.tasks.asr import frontend_choices; "
    script += "print(frontend_choices.get_class('masked_upstream').__name__)"
    reference = pickle.dumps(S3RouterASRTask.main_worker)
    ended = subprocess.run([sys.executable, "-c", script], input=reference, capture_output=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert ended.stdout.split()[-1] == b"MaskedUpstream"  # imports of ESPnet say something too
