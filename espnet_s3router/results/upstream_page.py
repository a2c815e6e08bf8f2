"""What an upstream is worth: the same methods on several upstreams, compared pair by pair.

python -m espnet_s3router.results.upstream_page --expdir exp/downstream --dev dev_en --test test_en --upstream hubert_mini
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import git_commit, own_command, write_atomic
from espnet_s3router.results.page import METRICS, comparison_line, percent
from espnet_s3router.results.rows import put_rows
from espnet_s3router.results.systems import System, choose, collect, compare, once, systems

Chosen = dict[str, dict[str, System]]
"""method -> upstream -> the variant that is best on dev."""


def chosen_systems(points: Iterable, dev: Sequence[str]) -> Chosen:
    """Of each method on each upstream the variant with the lowest CER on dev."""
    groups: dict[tuple, list[System]] = {}
    for system in systems(points):
        groups.setdefault(system.place, []).append(system)
    found: Chosen = {}
    for group in groups.values():
        for system in choose(group, dev):
            found.setdefault(system.info["method"], {})[system.info["upstream"]] = system
    return found


def table(chosen: Chosen, dev: Sequence[str], test: Sequence[str]) -> str:
    """A Markdown table, a row for each method and upstream."""
    heads = [f"{metric.upper()} {name} %" for metric in METRICS for name in ("dev", "test")]
    rows = ["| method | sparsity | upstream | " + " | ".join(heads) + " | seeds |", "|---" * (len(heads) + 4) + "|"]
    for method, by_upstream in chosen.items():
        for upstream, system in sorted(by_upstream.items()):
            cells = [percent(system.interval(sets, metric)) for metric in METRICS for sets in (dev, test)]
            sparsity = system.info["sparsity"]
            start = f"| {method} | {'' if sparsity is None else sparsity} | {upstream} | "
            rows.append(start + " | ".join(cells) + f" | {len(system.seeds)} |")
    return "\n".join(rows)


def differences(chosen: Chosen, upstream: str, test: Sequence[str]) -> list[str]:
    """``upstream`` against every other one, method by method."""
    if not any(upstream in by_upstream for by_upstream in chosen.values()):
        names = sorted({name for by_upstream in chosen.values() for name in by_upstream})
        raise InputError(f"--upstream is {upstream!r}, and the points are on {', '.join(names)}")
    lines = []
    for method, by_upstream in chosen.items():
        for other in sorted(set(by_upstream) - {upstream}) if upstream in by_upstream else ():
            for metric in METRICS:
                if found := compare(by_upstream[upstream], by_upstream[other], test, metric):
                    lines.append(comparison_line(f"{method} on {upstream}", other, metric, found))
    return lines


def pretraining_part(folder: Path) -> str:
    """How the clusters agree with phones, from the ``purity.json`` of a pretraining folder."""
    if not (folder / "purity.json").is_file():
        return ""
    found = json.loads((folder / "purity.json").read_text(encoding="utf-8"))
    keys = list(next(iter(found.values())))
    rows = ["| clusters | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
    rows += [f"| {name} | " + " | ".join(f"{values[key]:.3f}" for key in keys) + " |" for name, values in found.items()]
    return "\n## Clusters against phones\n" + "\n".join(rows) + "\n"


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Print the table and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expdir", type=Path, required=True)
    parser.add_argument("--dev", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--upstream", required=True, help="the one that is compared with all others")
    parser.add_argument("--pretraining", type=Path, help="folder of purity.json, for RESULTS.md")
    parser.add_argument("--results_md", type=Path)
    parser.add_argument("--command", default=own_command("upstream_table"))
    args = parser.parse_args(argv)
    points = once(collect(args.expdir))
    chosen = chosen_systems(points, args.dev)
    lines = differences(chosen, args.upstream, args.test)
    put_rows(args.expdir / "results.tsv", [row for point in points for row in point.rows()])
    text = table(chosen, args.dev, args.test) + "\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"
    print(text)
    if args.results_md:
        head = f"# Results\n\n`{args.command}`, commit {git_commit()}\n\n## Downstream, {'+'.join(args.test)}\n\n"
        body = pretraining_part(args.pretraining) if args.pretraining else ""
        write_atomic(args.results_md, head + text + body)


if __name__ == "__main__":
    raise SystemExit(main())
