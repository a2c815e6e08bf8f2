"""A stand-in for the library sounddevice: a microphone that hears what a test gives it."""

import sys
from types import ModuleType

import numpy as np


class PortAudioError(Exception):
    """As the library has it."""


class ToyMicrophone(ModuleType):
    """What this project calls of sounddevice. ``heard``: samples (samples,) at ``rate`` Hz; None: no device."""

    PortAudioError = PortAudioError

    def __init__(self, heard, rate=48000, fault=""):
        super().__init__("sounddevice")
        self.heard, self.rate, self.fault, self.recording = heard, rate, fault, False

    def query_devices(self, device=None, kind=None):
        assert kind == "input"
        if self.heard is None:
            raise PortAudioError("Error querying device -1")
        return {"name": "toy microphone", "max_input_channels": 1, "default_samplerate": float(self.rate)}

    def rec(self, frames, samplerate, channels, dtype):
        assert (samplerate, channels, dtype) == (self.rate, 1, "float32")
        if self.fault:
            raise PortAudioError(self.fault)
        self.recording = True
        return np.resize(self.heard, frames).astype(np.float32)[:, None]

    def wait(self):
        assert self.recording
        self.recording = False


def plug_in(monkeypatch, heard, **options):
    """Let ``import sounddevice`` give a toy, and return it."""
    toy = ToyMicrophone(heard, **options)
    monkeypatch.setitem(sys.modules, "sounddevice", toy)
    return toy
