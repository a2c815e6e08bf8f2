"""Any experiments side by side: error rates, sizes, and every system against one of them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.results.comparisons import Comparison, compare, corrected
from espnet_s3router.results.rows import errors_named
from espnet_s3router.results.scored_runs import ScoredRun, System, collect_runs, metrics_of, read_run, systems
from espnet_s3router.results.tables import NOTHING, Table
from espnet_s3router.text_format import duration, scaled


@dataclass(frozen=True)
class SideBySide:
    """The tables of ``s3router compare``."""

    rates: Table
    """A row for each system: error rates, sizes and time."""
    comparisons: Table
    """A row for each system and metric against the baseline; only the header if nothing can be compared."""
    note: str


def read_experiments(folders: Sequence[str | Path], inference_tag: str | None = None) -> list[ScoredRun]:
    """The runs of experiment folders, and of all experiments in folders of experiments (``exp``).

    A run that is named twice counts once. Raises InputError for another folder, and for a run without scores.
    """
    runs: dict[Path, ScoredRun] = {}
    for folder in map(Path, folders):
        single = folder / "point.json"
        found = [read_run(single, inference_tag)] if single.is_file() else collect_runs(folder, inference_tag)
        runs |= {run.path.resolve(): run for run in found}
    if unscored := [str(run.path) for run in runs.values() if not run.counts]:
        raise InputError(f"{unscored[0]}: is trained, but not scored; run stages 12 and 13 first, or leave it out")
    return list(runs.values())


def side_by_side(
    runs: Sequence[ScoredRun],
    datasets: Sequence[str] = (),
    baseline: str = "",
    real_time_factors: Mapping[Path, float] | None = None,
) -> SideBySide:
    """Systems (runs that differ only in their seed) side by side.

    Args:
        datasets: decoded datasets; by default those that all runs have.
        baseline: name of the system that the others are compared with; by default the first.
        real_time_factors: path of a run -> seconds to encode a second of audio; by default those that the runs recorded.

    Raises InputError for a dataset that a run lacks, for an unknown baseline, and for different reference texts.
    """
    found = systems(runs)
    shared = [name for name in runs[0].counts if all(name in run.counts for run in runs)]
    if missing := [name for name in datasets if name not in shared]:
        raise InputError(f"{missing[0]} was not decoded by every run; all have {', '.join(shared) or 'none in common'}")
    chosen, metrics = list(datasets) or shared, metrics_of(runs)
    names = labels(found)
    if baseline and baseline not in names.values():
        raise InputError(f"the baseline is {baseline!r}, expected one of {', '.join(names.values())}")
    base = next((system for system, name in names.items() if name == baseline), found[0])
    columns = [(dataset, metric) for metric in metrics for dataset in chosen]
    head = ["system", "sparsity", *(f"{m.upper()} {d} %" for d, m in columns), "trained", "bytes", "MACs/s"]
    head += ["RTF", "train time", "seeds"]
    rates = [head, *([names[system], *_row(system, columns, real_time_factors)] for system in found)]
    pairs = {(s, d, m): made for s in found if s is not base for d, m in columns if (made := compare(s, base, [d], m))}
    lines = [_line(names[system], names[base], dataset, made) for (system, dataset, _), made in corrected(pairs).items()]
    top = ["system", "baseline", "set", "metric", "relative difference %", "verdict", "p (matched pairs, Holm)"]
    metric_of = [metric for _, _, metric in pairs]
    table = [top, *([*line[:3], errors_named(metric), *line[3:]] for line, metric in zip(lines, metric_of))]
    return SideBySide(rates, table, NOTE)


NOTE = (
    "rates: mean ± standard deviation of the seeds, then the 95 % bootstrap interval; sparsity: zeros counted in the masked "
    "weights; bytes: the route file, or counted beside the base; MACs/s: of the upstream, "
    "for one second of audio, zeros included; RTF: real-time factor, seconds to encode a second of audio, on the machine "
    "that measured it; difference: paired bootstrap over utterances and seeds"
)


def labels(found: Sequence[System]) -> dict[System, str]:
    """A short name for each system: its method, and what else tells it from the others."""
    extra = [key for key in ("sparsity", "upstream", "split", "recipe") if len({s.info[key] for s in found}) > 1]
    names = {}
    for system in found:
        words = [
            f"s{system.info[key]:g}" if key == "sparsity" else str(system.info[key]) for key in extra if system.info[key]
        ]
        names[system] = " ".join([system.info["method"], *words])
    taken = list(names.values())
    return {s: name if taken.count(name) == 1 else f"{name} {s.info['variant']}" for s, name in names.items()}


def _row(
    system: System, columns: Sequence[tuple[str, str]], real_time_factors: Mapping[Path, float] | None = None
) -> list[str]:
    info, run = system.info, system.runs[0]
    zeros = run.counted.get("masked", info["sparsity"])
    size = run.route.get("bytes", info["bytes_added"])
    seconds = statistics.mean(one.info["train_seconds"] for one in system.runs)
    cells = [NOTHING if zeros is None else f"{zeros:.4g}", *(_rate(system, *column) for column in columns)]
    cells += [scaled(info["params_trained"]).strip(), f"{scaled(size)}B"]
    speeds = recorded_rtf(system.runs) if real_time_factors is None else real_time_factors
    rtf = [speeds[one.path] for one in system.runs if one.path in speeds]
    cells += [NOTHING if info["macs"] is None else scaled(info["macs"]).strip()]
    cells += [f"{statistics.mean(rtf):.4f}" if rtf else NOTHING, duration(seconds)]
    return [*cells, " ".join(map(str, system.seeds))]


def recorded_rtf(runs: Sequence[ScoredRun]) -> dict[Path, float]:
    """Path of a run -> real-time factor of its smaller model, for the runs that remove units."""
    return {run.path: run.shrunk["rtf"] for run in runs if run.shrunk.get("rtf")}


def _rate(system: System, dataset: str, metric: str) -> str:
    """For example ``12.5 ± 0.4 [8.1, 17.0]``."""
    data, interval = system.errors([dataset], metric), system.interval([dataset], metric)
    if data is None or interval is None:
        return NOTHING
    rates = 100 * data[0].sum(axis=1) / data[1].sum()
    spread = f" ± {statistics.stdev(rates.tolist()):.1f}" if len(rates) > 1 else ""
    return f"{100 * interval.value:.1f}{spread} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _line(name: str, baseline: str, dataset: str, made: Comparison) -> list[str]:
    change = made.difference
    interval = f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    return [name, baseline, dataset, interval, change.verdict, made.p_text().removeprefix(", ") or NOTHING]
