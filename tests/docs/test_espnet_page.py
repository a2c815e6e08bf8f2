"""docs/espnet.md: its line of sed changes the calls of training and decoding in ESPnet's asr.sh, and nothing else."""

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.test_site import BLOCK, DOCS

CALLS = """\
${python} -m espnet2.bin.asr_train --collect_stats true
${python} -m espnet2.bin.${asr_task}_train --collect_stats true
${python} -m espnet2.bin.launch --cmd "${cuda_cmd}" -- ${python} -m espnet2.bin.asr_train --use_preprocessor true
asr_inference_tool="espnet2.bin.asr_inference"
asr_inference_tool="espnet2.bin.${asr_task}_inference"
asr_inference_tool="espnet2.bin.asr_inference_streaming"
asr_inference_tool="espnet2.bin.asr_inference_k2"
${python} -m espnet2.bin.lm_train --collect_stats true
${python} -m espnet2.bin.pack asr --outpath model.zip
"""
"""The forms in which ESPnet's template names its modules, in releases from 2022 on."""
CHANGED = {0, 1, 2, 3, 4}
OURS = re.compile(r"espnet_s3router\.bin\.(?:asr|\$\{asr_task\})_(train|inference)\b")


def apply(script):
    """Run the page's line on a script. Returns the lines after it."""
    (line,) = [line for block in BLOCK.findall((DOCS / "espnet.md").read_text("utf-8")) for line in block.splitlines()
               if line.startswith("sed ")]  # fmt: skip
    subprocess.run(line, shell=True, check=True, cwd=script.parent)
    return script.read_text("utf-8").splitlines()


def test_calls_of_training_and_decoding_change(tmp_path):
    (tmp_path / "asr.sh").write_text(CALLS, "utf-8")
    for number, (old, new) in enumerate(zip(CALLS.splitlines(), apply(tmp_path / "asr.sh"), strict=True)):
        ours = re.sub(r"espnet2(\.bin\.\S+_(train|inference)\b)", r"espnet_s3router\1", old)
        assert new == (ours if number in CHANGED else old)


def template():
    """ESPnet's own asr.sh: ESPNET_ROOT names a clone, or ESPnet is installed from one. None if neither is so."""
    installed = find_spec("espnet2")
    roots = [os.environ.get("ESPNET_ROOT"), installed and Path(installed.submodule_search_locations[0]).parent]
    scripts = [Path(root) / "egs2/TEMPLATE/asr1/asr.sh" for root in roots if root]
    return next((script for script in scripts if script.is_file()), None)


def test_espnets_own_template(tmp_path):
    source = template()
    if source is None:
        pytest.skip("ESPnet's wheel has no egs2/TEMPLATE: set ESPNET_ROOT to a clone of ESPnet")
    old = source.read_text("utf-8").splitlines()
    (tmp_path / "asr.sh").write_text("\n".join(old) + "\n", "utf-8")
    new = apply(tmp_path / "asr.sh")
    changed = [OURS.search(after)[1] for before, after in zip(old, new, strict=True) if before != after]
    assert changed.count("train") >= 2 and changed.count("inference") == 1  # stages 10 and 11, and stage 12
    subprocess.run(["bash", "-n", tmp_path / "asr.sh"], check=True)
