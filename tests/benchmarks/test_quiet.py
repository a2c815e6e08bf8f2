"""A measurement says when other processes took processor time from it. All clocks are fake."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import quiet

    return quiet


@pytest.fixture
def meter(quiet):
    """A meter after 10 s of wall time, with ``own`` and ``others`` seconds of processor time."""

    def make(own, others, threads=2, processors=2):
        busy = None if others is None else 100.0 + own + others
        readings = iter([quiet.Clocks(5.0, 1.0, None if others is None else 100.0), quiet.Clocks(15.0, 1.0 + own, busy)])
        made = quiet.LoadMeter(threads, clocks=lambda: next(readings), processors=processors)
        with made.region("routing"):
            pass
        return made

    return make


@pytest.mark.parametrize(
    ("own", "others", "threads", "processors", "share"),
    [
        (20.0, 0.0, 2, 2, 1.0),
        (15.0, 0.1, 2, 2, 15.0 / 15.1),  # one thread alone for half of the time: nothing was taken
        (10.0, 10.0, 2, 2, 0.5),  # a busy process took one of two processors
        (15.0, 5.0, 2, 2, 0.75),
        (20.0, 20.0, 2, 4, 1.0),  # two other processors carry the other processes
        (19.0, 25.0, 2, 4, 0.95),
        (10.0, 30.0, 2, 4, 0.5),
        (15.0, None, 2, 2, 0.75),  # without /proc/stat every second counts
        (10.0, 5.0, 1, 2, 1.0),
    ],
)
def test_share_of_the_available_processor_time(meter, own, others, threads, processors, share):
    assert meter(own, others, threads, processors).shares() == {"routing": pytest.approx(share)}


def test_a_quiet_machine_gives_no_warning(meter, capsys):
    assert meter(18.5, 1.0).quiet()
    assert capsys.readouterr() == ("", "")


def test_a_busy_process_beside_the_benchmark_is_reported(meter, capsys):
    assert not meter(10.0, 10.0).quiet()
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("warning: other processes ran") and "routing got 50%" in err


def test_regions_of_one_name_are_added_and_the_worst_name_counts(quiet):
    walls = [0, 10, 10, 20, 20, 30]
    owns = [0, 20, 20, 35, 35, 50]  # 20, 15 and 15 s of 20
    readings = iter([quiet.Clocks(wall, own, 2.0 * wall) for wall, own in zip(walls, owns)])
    meter = quiet.LoadMeter(2, clocks=lambda: next(readings), processors=2)
    for name in ("parp", "parp", "mpi"):
        with meter.region(name):
            pass
    assert meter.shares() == {"parp": pytest.approx(35 / 40), "mpi": pytest.approx(15 / 20)}


def test_busy_time_is_read_from_proc_stat(quiet, tmp_path, monkeypatch):
    monkeypatch.setattr(quiet.os, "sysconf", lambda name: {"SC_CLK_TCK": 100}[name])
    (tmp_path / "stat").write_text("cpu  100 20 30 4000 500 6 7 8 50 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert quiet.busy_seconds(tmp_path / "stat") == pytest.approx(1.71)  # neither idle nor waiting for a disk
    assert quiet.busy_seconds(tmp_path / "none") is None
    (tmp_path / "stat").write_text("no figures")
    assert quiet.busy_seconds(tmp_path / "stat") is None


def test_the_clocks_of_this_machine_run(quiet):
    first, second = quiet.read_clocks(), quiet.read_clocks()
    assert second.wall >= first.wall and second.own >= first.own
