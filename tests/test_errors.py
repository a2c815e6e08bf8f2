"""How commands end."""

import os
import subprocess
import sys

import pytest

from espnet_s3router.errors import INTERRUPTED, NO_READER, InputError, exit_status


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (InputError("got a, expected b"), 1, "error: got a, expected b\n"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, "error: [Errno 32] Broken pipe\n"),  # to a worker, say: stdout is read
        (KeyboardInterrupt(), INTERRUPTED, "error: interrupted; the same command goes on where it was\n"),
    ],
    ids=["input", "disk", "pipe", "ctrl-c"],
)
def test_what_a_user_can_mend_ends_with_a_message(raised, status, message, capsys):
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


def test_a_reader_that_went_away_is_no_error():
    """As in ``s3router methods | head -1``, however late head leaves."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "espnet_s3router.cli.main", "methods"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (NO_READER, "")
