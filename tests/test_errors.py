"""Exit statuses of commands."""

import os
import subprocess
import sys

import pytest

from espnet_s3router.bin import asr_inference
from espnet_s3router.errors import INTERRUPTED, NO_READER, InputError, exit_status, summary


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (InputError("got a, expected b"), 1, "error: got a, expected b\n"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, "error: [Errno 32] Broken pipe\n"),  # to a worker: stdout has a reader
        (KeyboardInterrupt(), INTERRUPTED, "error: interrupted; run the same command again to continue\n"),
    ],
    ids=["input", "disk", "pipe", "ctrl-c"],
)
def test_errors_of_the_user_end_with_a_message(raised, status, message, capsys):
    @exit_status
    def command(argv):
        raise raised

    assert command([]) == status
    assert capsys.readouterr().err == message


def test_other_errors_keep_their_traceback():
    @exit_status
    def command(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command([])


def test_a_missing_reader_is_no_error():
    """As in ``s3router methods | head -1``, however late head ends."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "espnet_s3router.cli.main", "methods"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (NO_READER, "")


def test_commands_of_bin_raise_in_python(monkeypatch, capsys):
    """A recipe that calls one with arguments handles the error; as a command it ends with a message."""
    module = type(sys)("espnet2.bin.asr_inference")
    module.main = module.get_parser = lambda cmd: None
    best_path = type(sys)("espnet_s3router.plugin.best_path")
    best_path.best_path_decoding = None
    for name in ("espnet2", "espnet2.bin", "espnet_s3router.plugin"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    for stub in (module, best_path):
        monkeypatch.setitem(sys.modules, stub.__name__, stub)
    with pytest.raises(InputError, match="--ctc_best_path is 'yes', expected true or false"):
        asr_inference.main(["--ctc_best_path=yes"])
    monkeypatch.setattr(sys, "argv", ["asr_inference", "--ctc_best_path=yes"])
    assert exit_status(asr_inference.main)() == 1
    assert capsys.readouterr().err.startswith("error: --ctc_best_path is 'yes'")


def test_summary_of_a_long_message():
    assert summary(ValueError("two\n  lines")) == "ValueError: two lines"
    assert summary(KeyError("x" * 400)) == "KeyError: '" + 299 * "x" + "…"
