"""Builds the wheel of this checkout without leaving a file in it.

python tests/build_wheel.py DIR
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build_wheel(folder: Path) -> Path:
    """Build the wheel into ``folder`` and return its path."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        build = ["build", "--build-base", work / "build", "bdist_wheel", "--dist-dir", folder, "--bdist-dir", work / "dist"]
        command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", work, *build]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    (wheel,) = folder.glob("*.whl")
    return wheel


if __name__ == "__main__":
    print(build_wheel(Path(sys.argv[1]).resolve()))
