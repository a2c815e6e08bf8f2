"""A microphone, through a stand-in for the library sounddevice."""

import sys
from importlib import import_module

import numpy as np
import pytest
from toy_microphone import plug_in

from espnet_s3router.data import microphone
from espnet_s3router.data.microphone import Microphone, checked_seconds
from espnet_s3router.errors import InputError


def test_its_rate_is_changed_to_that_of_the_model(monkeypatch):
    seconds, hertz = 0.5, 440.0
    toy = plug_in(monkeypatch, np.sin(2 * np.pi * hertz * np.arange(24000) / 48000) / 2, rate=48000)
    wave = Microphone().record(seconds, 16000)
    assert wave.shape == (8000,) and wave.dtype == np.float32 and not toy.recording
    assert np.abs(np.fft.rfft(wave)).argmax() == hertz * seconds
    assert np.abs(wave).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("heard", "fault", "message"),
    [
        (None, "", r"there is no microphone \(PortAudioError: Error querying device -1\). Connect one"),
        (np.zeros(8), "", "toy microphone gave 0.1 s of zeros: it is muted"),
        (np.ones(8), "Device unavailable", "toy microphone cannot record: PortAudioError: Device unavailable. Close other"),
    ],
)
def test_what_can_be_wrong(monkeypatch, heard, fault, message):
    plug_in(monkeypatch, heard, fault=fault)
    with pytest.raises(InputError, match=message):
        Microphone().record(0.1, 16000)


def test_the_library_or_what_it_loads_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(InputError, match=r"sounddevice is missing.*pip install 'espnet-s3router\[microphone\]'"):
        Microphone()

    def without_portaudio(name):
        if name == "sounddevice":
            raise OSError("PortAudio library not found")
        return import_module(name)

    monkeypatch.setattr(microphone, "import_module", without_portaudio)
    with pytest.raises(InputError, match="PortAudio library not found. On Linux.*apt install libportaudio2"):
        Microphone()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 601.0])
def test_seconds_of_a_recording(seconds):
    assert checked_seconds(600.0) == 600.0
    with pytest.raises(InputError, match="expected seconds above 0 and at most 600"):
        checked_seconds(seconds)
