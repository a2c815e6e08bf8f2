"""An ONNX model in memory: log probabilities of audio."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from espnet_s3router.errors import InputError, summary
from espnet_s3router.exported.layout import HOW_TO_EXPORT, INPUTS, OUTPUT, Description
from espnet_s3router.exported.libraries import need

SHORTEST = 800
"""Samples to which shorter audio is padded with zeros, as s3prl does before a model gets it (0.05 s)."""


class Session:
    """A graph that onnxruntime runs on the processor.

    Args:
        path: the .onnx file.
        description: what its config.json says.
        threads: of one matrix product; 0 for as many as the processor has cores.

    Raises:
        InputError: onnxruntime is missing, or the file is no model of this package.
    """

    def __init__(self, path: Path, description: Description, *, threads: int = 0) -> None:
        runtime = need("onnxruntime")
        if not path.is_file():
            raise InputError(f"{path}: there is no such file. {HOW_TO_EXPORT}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a type for each reason
            raise InputError(f"{path}: onnxruntime cannot open it: {summary(error)}. {HOW_TO_EXPORT}") from error
        inputs = tuple(value.name for value in self._session.get_inputs())
        outputs = tuple(value.name for value in self._session.get_outputs())
        if inputs != INPUTS or outputs != (OUTPUT,):
            raise InputError(
                f"{path}: takes {', '.join(inputs)} and gives {', '.join(outputs)}, expected {', '.join(INPUTS)} and "
                f"{OUTPUT}. {HOW_TO_EXPORT}"
            )
        self.path, self.description = path, description

    def log_probs(self, wave: NDArray[np.float32], weights: Mapping[str, Any] | None = None) -> NDArray[np.float32]:
        """(frames, tokens) of audio (samples,) at 16 kHz. ``weights``: values of replaceable weights, as OrtValues.

        Raises InputError for audio that is shorter than the first frame, or longer than the model takes.
        """
        check_length(len(wave), self.description)
        wave = np.pad(wave.astype(np.float32, copy=False), (0, max(0, SHORTEST - len(wave))))
        runtime = need("onnxruntime")
        audio = {INPUTS[0]: wave[None], INPUTS[1]: np.array([len(wave)], np.int64)}
        values = {name: runtime.OrtValue.ortvalue_from_numpy(array) for name, array in audio.items()}
        (output,) = self._session.run_with_ort_values([OUTPUT], values | dict(weights or {}))
        return output.numpy()[0]

    def replaceable(self) -> list[str]:
        """Names of the weights that a run may replace."""
        return [value.name for value in self._session.get_overridable_initializers()]


def check_length(samples: int, description: Description) -> None:
    """Raises InputError unless the model takes audio of this length."""
    if samples < description.first_frame:
        raise InputError(
            f"the audio has {samples} samples at 16 kHz, expected at least {description.first_frame}: the model looks at so "
            "many for its first frame. Give a longer recording"
        )
    if description.longest is not None and samples > description.longest:
        raise InputError(
            f"the audio has {samples / 16000:.2f} s, expected at most {description.longest / 16000:.2f} s: cut it"
        )
