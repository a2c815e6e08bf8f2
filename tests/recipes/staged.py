"""Stages 1 to 13 of a recipe in this process, as far as they import ESPnet.

``run.sh`` prepares the data. The grid and its page, which it would start in processes of their own, run in this one with the
options that it gave them: three imports of ESPnet are saved.
"""

import sys

import pytest

from tests.recipes.conftest import call

PYTHON = f"""#!{sys.executable}
# Stands for --python: keeps the options of the grid and of its page for the test, and runs all other commands.
import os, shutil, sys
words = sys.argv[1:]
kept = os.environ["KEPT"]
if words[1].rpartition(".")[2] in ("grid", "report") and len(words) == 4:
    shutil.copy(words[3], os.path.join(kept, words[1].rpartition(".")[2] + ".yaml"))
else:
    os.execv("{sys.executable}", ["{sys.executable}", *words])
"""


def run_stages(recipes, *words, kept, **environment):
    """Run ``run.sh``, then the grid and its page. ``kept``: an empty folder. Returns (how ``run.sh`` ended, the page)."""
    from espnet_s3router.experiments import grid, report

    (python := kept / "python").write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    prepared = recipes.run("./run.sh", *words, "--python", python, KEPT=str(kept), **environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(recipes.here)
        patch.setattr(grid, "close_servers", lambda: None)  # the next recipe takes the same process
        for command in (grid, report):
            done = call(command.main, ["--options", str(kept / f"{command.__name__.rpartition('.')[2]}.yaml")])
            assert done.returncode == 0, done.stderr
    return prepared, done.stdout
