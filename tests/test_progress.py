"""Progress bars: on the terminal's stderr, also while other libraries are silenced, and nowhere else."""

import io
import sys

from espnet_s3router.cli.quiet import quiet_imports
from espnet_s3router.progress import progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        return True


def shown(monkeypatch, stream, **options):
    monkeypatch.setattr(sys, "__stderr__", stream)
    with quiet_imports():
        assert list(progress([1, 2, 3], "work", "piece", **options)) == [1, 2, 3]
    return stream.getvalue()


def test_where_a_bar_is_seen(monkeypatch):
    assert "work" in shown(monkeypatch, Terminal())
    assert shown(monkeypatch, io.StringIO()) == ""


def test_no_bar_between_lines_of_results(monkeypatch):
    assert "work" in shown(monkeypatch, Terminal(), prints=True)
    both = Terminal()
    monkeypatch.setattr(sys, "__stderr__", both)
    monkeypatch.setattr(sys, "stdout", both)
    assert list(progress([1], "work", "piece", prints=True)) == [1]
    assert both.getvalue() == ""
