"""Frontends on toy upstreams, and small experiments that ESPnet trains, each once per session."""

import math
import shutil
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import yaml

ROUTING = {"method": "routing", "sparsity": 0.2, "targets": "all"}
HJ = {"method": "hj", "sparsity": 0.4, "closed": 0.3, "updates": 4}
RUNS = {
    "routing": {"max_epoch": 2},
    "units": {"max_epoch": 1, "mask_conf": {"method": "routing", "sparsity": 0.5, "targets": "all", "ranking": "units"}},
    "finetune": {"max_epoch": 1, "mask_conf": {"method": "finetune"}},
}
"""Toy runs that several tests share: name -> changes of the configuration."""


@pytest.fixture
def frontend(toy_upstreams):
    """make(family, **options) -> MaskedUpstream in evaluation mode."""
    from espnet_s3router.plugin.frontend import MaskedUpstream

    def make(family="hf_hubert", mask_conf=None, **options):
        conf = {**toy_upstreams[family], **options.pop("frontend_conf", {})}
        return MaskedUpstream(frontend_conf=conf, mask_conf=mask_conf or ROUTING, **options).eval()

    return make


@pytest.fixture
def right_bfloat16():
    """A machine whose convolutions are right in bfloat16: those of oneDNN are not on every processor."""
    import torch

    from espnet_s3router.bfloat16 import convolution_error

    before = torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    convolution_error.cache_clear()
    yield
    torch._C._set_mkldnn_enabled(before)
    convolution_error.cache_clear()


@pytest.fixture
def wrong_bfloat16(monkeypatch):
    """A processor that computes in bfloat16, and seems to compute every convolution wrongly in it."""
    import torch

    from espnet_s3router import bfloat16

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(bfloat16, "convolution_error", lambda *shape: 1.0)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Eight tones of about half a second, each with two letters: wav.scp, text, shapes and a token list."""
    import soundfile

    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    scp, text, shapes = [], [], []
    for index in range(8):
        samples = 8000 + 320 * index
        tone = np.sin(2 * math.pi * (200 + 300 * (index % 2)) * np.arange(samples) / 16000)
        soundfile.write(folder / f"utt{index}.wav", 0.3 * tone + 0.05 * rng.standard_normal(samples), 16000)
        scp.append(f"utt{index} {folder / f'utt{index}.wav'}")
        text.append(f"utt{index} {'AB' if index % 2 else 'BA'}")
        shapes.append(f"utt{index} {samples}")
    for name, lines in {"wav.scp": scp, "text": text, "speech_shape": shapes}.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "tokens.txt").write_text("<blank>\n<unk>\nA\nB\n<sos/eos>\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def write_experiment(corpus, toy_upstreams):
    """write(folder, **changes) -> command line of asr_train for a CTC model directly on a toy upstream."""

    def write(folder, family="hf_hubert", out=None, mask_conf=None, frontend=None, **changes):
        config = {
            "frontend": "masked_upstream",
            "frontend_conf": {
                "frontend_conf": toy_upstreams[family],
                "mask_conf": mask_conf or ROUTING,
                **(frontend or {}),
            },
            "specaug": None,
            "normalize": None,
            "encoder": None,
            "decoder": "rnn",
            "model_conf": {"ctc_weight": 1.0},
            "token_type": "char",
            "optim": "adam",
            "optim_conf": {"lr": 0.01},
            "batch_type": "unsorted",
            "batch_size": 4,
            "max_epoch": 2,
            "num_workers": 0,
            "num_att_plot": 0,
            "use_matplotlib": False,
            "use_tensorboard": False,
            "best_model_criterion": [["valid", "loss", "min"]],
            "keep_nbest_models": 2,
            "output_dir": str(out or folder / "exp"),
            "token_list": str(corpus / "tokens.txt"),
            **changes,
        }
        for kind in ("train", "valid"):
            config[f"{kind}_data_path_and_name_and_type"] = [
                [str(corpus / "wav.scp"), "speech", "sound"],
                [str(corpus / "text"), "text", "text"],
            ]
            config[f"{kind}_shape_file"] = [str(corpus / "speech_shape")]
        path = Path(folder) / "config.in.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return ["--config", str(path)]

    return write


@pytest.fixture
def experiment(write_experiment, tmp_path):
    """write(**changes) -> command line, as ``write_experiment`` in the folder of the test."""
    return partial(write_experiment, tmp_path)


@pytest.fixture(scope="session")
def trained(write_experiment, tmp_path_factory):
    """folder(name) -> experiment folder of a run of RUNS, trained once per session. Read it only; copy it to change it."""
    from espnet_s3router.bin.asr_train import main

    @cache
    def folder(name):
        path = tmp_path_factory.mktemp(name)
        main(write_experiment(path, **RUNS[name]))
        return path / "exp"

    return folder


@pytest.fixture
def trained_copy(trained, tmp_path):
    """copy(name, as_name) -> a copy of a trained experiment folder in the folder of the test."""

    def copy(name, as_name="exp"):
        return Path(shutil.copytree(trained(name), tmp_path / as_name))

    return copy


@pytest.fixture(scope="session")
def pruned(write_experiment, trained, tmp_path_factory):
    """Experiment folder of a run of hj from a dense model. Read it only."""
    from espnet_s3router.bin.asr_train import main

    folder = tmp_path_factory.mktemp("hj")
    conf = {**HJ, "start": str(trained("finetune") / "1epoch.pth")}
    assert main(write_experiment(folder, mask_conf=conf, max_epoch=2)) in (0, None)
    return folder / "exp"


@pytest.fixture(scope="session")
def small(pruned, tmp_path_factory):
    """What was written for its smaller model."""
    from espnet_s3router.plugin.deployment.finished import files_of
    from espnet_s3router.plugin.deployment.route import speech_like
    from espnet_s3router.plugin.deployment.shrink import shrink_experiment

    out = tmp_path_factory.mktemp("small") / "out"
    return shrink_experiment(*files_of(pruned, "2epoch.pth"), out, waves=[speech_like(1.2)])


@pytest.fixture
def dense(trained):
    """The model file of a finetune run of one epoch."""
    return str(trained("finetune") / "1epoch.pth")


@pytest.fixture
def dense_copy(trained_copy):
    """A copy of ``dense`` that a test may change or remove."""
    return str(trained_copy("finetune", "dense") / "1epoch.pth")


@pytest.fixture
def asr_model(experiment):
    """build(**as for experiment) -> (ESPnet model, its arguments)."""
    from espnet_s3router.plugin.training.task import S3RouterASRTask

    def build(**options):
        args = S3RouterASRTask.get_parser().parse_args(experiment(**options))
        return S3RouterASRTask.build_model(args), args

    return build


def write_untrained(write_experiment, folder, out=None, **options):
    """The experiment folder of a run without updates: config.yaml and 1epoch.pth. Arguments as for ``write_experiment``."""
    import torch

    from espnet_s3router.plugin.training.task import S3RouterASRTask

    out = out or folder / "exp"
    S3RouterASRTask.main(cmd=write_experiment(folder, out=out, dry_run=True, iterator_type="none", **options))
    model, _ = S3RouterASRTask.build_model_from_file(out / "config.yaml", None, "cpu")
    torch.save(model.state_dict(), out / "1epoch.pth")
    return out


@pytest.fixture
def untrained(write_experiment, tmp_path):
    """write(**as for experiment) -> experiment folder of a run without updates: config.yaml and 1epoch.pth."""
    return partial(write_untrained, write_experiment, tmp_path)


def write_trained_like(write_experiment, folder, name="exp", seed=0, **options):
    """(config.yaml, model file) of a run in ``folder``/``name`` with every trained tensor moved, as by training."""
    import torch

    from espnet_s3router.plugin.deployment.bake import load_experiment

    out = write_untrained(write_experiment, folder, folder / name, **options)
    model, _ = load_experiment(out / "config.yaml", out / "1epoch.pth", "asr")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
        for packed_name in model.frontend.attached.packed:
            packed = model.frontend.attached.saved[packed_name]
            packed.copy_(torch.randint(0, 256, packed.shape, generator=generator))
    torch.save(model.state_dict(), out / "1epoch.pth")
    return out / "config.yaml", out / "1epoch.pth"


@pytest.fixture
def trained_like(write_experiment, tmp_path):
    """make(name, **as for untrained) -> as ``write_trained_like`` in the folder of the test."""
    return partial(write_trained_like, write_experiment, tmp_path)
