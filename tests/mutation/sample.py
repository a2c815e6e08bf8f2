"""A random sample of mutants of cosmic-ray, each tested by the tests of its room. ``run.sh`` calls this in a copy."""

import argparse
import difflib
import multiprocessing
import random
import sys
from pathlib import Path
from typing import NamedTuple

import cosmic_ray.plugins
import pytest
import torch  # noqa: F401  the processes that test a mutant are forked with this import
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import use_mutation

ROOMS = {
    "masks": ("espnet_s3router/masks", "tests/masks"),
    "methods": ("espnet_s3router/methods", "tests/methods"),
    "plugin": ("espnet_s3router/plugin/training", "tests/plugin/training"),
}
LEFT_OUT = ("core/ReplaceBinaryOperator_BitOr", "core/RemoveDecorator")
"""Operators whose mutants end at import: ``|`` stands in annotations, decorators are those of dataclasses."""


class Mutant(NamedTuple):
    """One change: the ``occurrence``-th place in ``module`` where ``operator`` applies."""

    module: Path
    operator: str
    occurrence: int
    tests: str


def mutants_of(room: str) -> list[Mutant]:
    """Every mutant of a room, in a fixed order."""
    folder, tests = ROOMS[room]
    found = []
    for module in sorted(Path(folder).rglob("*.py")):
        tree = get_ast_from_path(module)
        for name in sorted(cosmic_ray.plugins.operator_names()):
            operator = cosmic_ray.plugins.get_operator(name)
            if name.startswith(LEFT_OUT) or operator.arguments():
                continue
            places = sum(1 for node in ast_nodes(tree) for _ in operator().mutation_positions(node))
            found += [Mutant(module, name, place, tests) for place in range(places)]
    return found


def is_killed(mutant: Mutant, minutes: float) -> bool:
    """True if a test fails, or if the tests take longer than the limit. The file named after the module runs first."""
    first = Path(mutant.tests, f"test_{mutant.module.stem}.py")
    return not passes([str(first), mutant.tests] if first.exists() else [mutant.tests], minutes)


def passes(paths: list[str], minutes: float) -> bool:
    """True if all tests below ``paths`` pass within the limit."""
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", *paths]
    process = multiprocessing.get_context("fork").Process(target=run_quietly, args=(options,))
    process.start()
    process.join(60 * minutes)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def run_quietly(options: list[str]) -> None:
    """Run pytest without its output and exit with its status."""
    sys.stdout = sys.stderr = open("/dev/null", "w")  # noqa: SIM115
    sys.exit(int(pytest.main(options)))


def main() -> None:
    """Test a sample and print the share killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", default=["masks", "methods"], metavar="ROOM", help=", ".join(ROOMS))
    parser.add_argument("--mutants", type=int, default=60, help="size of the sample")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--minutes", type=float, default=10.0, help="time limit of a mutant")
    args = parser.parse_args()
    for room in args.rooms:
        if not passes([ROOMS[room][1]], args.minutes):
            sys.exit(f"{ROOMS[room][1]} fails without a mutant, or takes longer than --minutes {args.minutes:g}")
    everything = [mutant for room in args.rooms for mutant in mutants_of(room)]
    sample = random.Random(args.seed).sample(everything, min(args.mutants, len(everything)))
    killed = 0
    for number, mutant in enumerate(sample, 1):
        operator = cosmic_ray.plugins.get_operator(mutant.operator)()
        with use_mutation(mutant.module, operator, mutant.occurrence) as (before, after):
            dead = is_killed(mutant, args.minutes)
        killed += dead
        changed = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line.startswith(("-", "+"))]
        print(f"{number}/{len(sample)} {'killed' if dead else 'SURVIVED'} {mutant.module} {mutant.operator}", flush=True)
        if not dead:
            print("\n".join(changed), flush=True)
    print(f"{killed} of {len(sample)} mutants killed ({killed / len(sample):.0%}), {len(everything)} possible", flush=True)


if __name__ == "__main__":
    main()
