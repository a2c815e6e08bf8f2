"""``import espnet_s3router`` must cost nothing: command-line help and setup read it."""

import subprocess
import sys

CODE = """
import sys
import espnet_s3router, espnet_s3router.errors
heavy = {"torch", "espnet2", "s3prl", "transformers", "numpy", "yaml"} & set(sys.modules)
assert not heavy, heavy
assert espnet_s3router.__version__
import espnet_s3router.upstreams
heavy = {"torch", "espnet2", "s3prl", "transformers"} & set(sys.modules)
assert not heavy, heavy
import espnet_s3router.bin.asr_train, espnet_s3router.bin.asr_inference
import espnet_s3router.bin.slu_train, espnet_s3router.bin.slu_inference
heavy = {"torch", "espnet2"} & set(sys.modules)
assert not heavy, heavy
"""

NO_ESPNET = """
import sys
import espnet_s3router.masks, espnet_s3router.methods
heavy = {"espnet2", "s3prl"} & set(sys.modules)
assert not heavy, heavy
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_package_imports_nothing_heavy():
    result = run(CODE)
    assert result.returncode == 0, result.stderr


def test_masks_and_methods_know_no_espnet():
    result = run(NO_ESPNET)
    assert result.returncode == 0, result.stderr
