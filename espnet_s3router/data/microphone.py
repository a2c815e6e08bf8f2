"""Recordings from a microphone, through the library sounddevice (an extra of this package)."""

from importlib import import_module
from typing import Any

import numpy as np

from espnet_s3router.data.audio import resample
from espnet_s3router.errors import InputError, install_extra, summary

LONGEST = 600.0
"""Seconds of the longest recording."""
INSTALL = f"Install what a microphone needs: {install_extra('microphone')}"
ON_LINUX = "On Linux, PortAudio is a package of the system, too: apt install libportaudio2"


class Microphone:
    """The microphone that the system uses by default.

    Raises InputError if sounddevice or PortAudio is missing, and if there is no microphone.
    """

    def __init__(self) -> None:
        try:
            self._library: Any = import_module("sounddevice")
        except ImportError as error:
            raise InputError(f"sounddevice is missing, expected it for a microphone. {INSTALL}") from error
        except OSError as error:  # sounddevice has no PortAudio to load
            raise InputError(f"sounddevice does not start: {error}. {ON_LINUX}") from error
        try:
            device = self._library.query_devices(kind="input")
        except (self._library.PortAudioError, ValueError) as error:
            raise InputError(
                f"there is no microphone ({summary(error)}). Connect one, and look at `python -m sounddevice`; or record a "
                "file on another machine, and give its path"
            ) from error
        self.name, self._rate = str(device["name"]), float(device["default_samplerate"])

    def record(self, seconds: float, rate: int) -> np.ndarray:
        """Record now: samples (samples,) float32 in [-1, 1] at ``rate`` Hz.

        The microphone records at its own rate. Raises InputError if it cannot be used, and if nothing but zeros comes.
        """
        try:
            frames = round(seconds * self._rate)
            sound = self._library.rec(frames, samplerate=self._rate, channels=1, dtype="float32")
            self._library.wait()
        except self._library.PortAudioError as error:
            raise InputError(
                f"{self.name} cannot record: {summary(error)}. Close other programs that use it, and check its permission"
            ) from error
        if not sound.any():
            raise InputError(f"{self.name} gave {seconds:g} s of zeros: it is muted or not permitted. Turn it on")
        return resample(sound[:, 0], self._rate, rate)


def checked_seconds(seconds: float) -> float:
    """``seconds`` of a recording. Raises InputError outside (0, LONGEST]."""
    if not 0 < seconds <= LONGEST:
        raise InputError(f"--microphone is {seconds:g}, expected seconds above 0 and at most {LONGEST:g}")
    return seconds
