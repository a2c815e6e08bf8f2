"""Exported toy models, written once per session, and onnx-asr to open them."""

import shutil
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest


def waves_of(folder):
    """Readers of the audio of a data directory by utterance."""
    from espnet_s3router.bin.recordings import read_wave

    lines = (Path(folder) / "wav.scp").read_text("utf-8").splitlines()
    return {key: partial(read_wave, path) for key, path in (line.split() for line in lines)}


@pytest.fixture(scope="session")
def data_dir(corpus, tmp_path_factory):
    """The toy corpus as a Kaldi-style data directory."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("wav.scp", "text"):
        shutil.copy(corpus / name, folder / name)
    keys = [line.split()[0] for line in (folder / "wav.scp").read_text("utf-8").splitlines()]
    (folder / "utt2spk").write_text("".join(f"{key} s\n" for key in keys), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def exported(trained, data_dir, tmp_path_factory):
    """folder() -> (the trained toy run as fp32 and int8, the report)."""
    from espnet_s3router.plugin.onnx_export.experiment import export_experiment

    @cache
    def folder():
        run, out = trained("routing"), tmp_path_factory.mktemp("onnx") / "out"
        files = (run / "config.yaml", run / "2epoch.pth")
        report = export_experiment(*files, out, waves_of(data_dir), kinds=("fp32", "int8"), gate=lambda *texts: {})
        return out, report

    return folder


def onnx_asr_model(folder, quantization=None):
    """onnx-asr on a folder, with its reading of files, its vocabulary, its decoding and its resampling.

    Its main branch knows the type wav2vec2-ctc (pull request 135), and release 0.12 does not. There the class below calls
    the graph as that type does.
    """
    import onnx_asr
    import onnxruntime
    from onnx_asr.asr import _AsrWithCtcDecoding
    from onnx_asr.loader import Manager
    from onnx_asr.resolver import Resolver
    from onnx_asr.utils import ModelNotSupportedError

    try:
        return onnx_asr.load_model("wav2vec2-ctc", folder, quantization=quantization)
    except ModelNotSupportedError:
        pass

    class Wave(_AsrWithCtcDecoding):
        _preprocessor_name = "identity"
        _subsampling_factor = property(lambda self: self.config["subsampling_factor"])

        def __init__(self, files, preprocessors, options):
            super().__init__(files, preprocessors, options)
            self._model = onnxruntime.InferenceSession(files["model"], **options)

        @staticmethod
        def _get_model_files(quantization=None):
            return {"model": f"model{'?' + quantization if quantization else ''}.onnx", "vocab": "vocab.txt"}

        def _encode(self, waves, lengths):
            inputs = {"input_values": waves, "input_lengths": lengths.astype(np.int64)}
            (logprobs,) = self._model.run(["logprobs"], inputs)
            return logprobs, np.minimum(lengths // self._subsampling_factor + 1, logprobs.shape[1]).astype(np.int64)

    manager = Manager(providers=["CPUExecutionProvider"])
    files = Resolver(Wave, local_dir=folder).resolve_model(quantization=quantization)
    return manager._create_asr_adapter(Wave(files, manager._create_preprocessor, manager.default_onnx_config))
