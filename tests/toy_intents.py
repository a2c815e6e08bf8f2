"""Tiny trees of Fluent Speech Commands, SNIPS and SLURP in exactly their layouts.

A recording is one of ``speech`` for each command, such as recorded prompts (samples,) at 16 kHz, or else a tone.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

FSC = {  # transcription -> action, object, location
    "Turn on the lights": ("activate", "lights", "none"),
    "Switch the language": ("change language", "none", "none"),
    "Fetch my shoes": ("bring", "shoes", "none"),
}
SNIPS = {  # intent -> texts, as pieces with a slot or without
    "SwitchLightOn": ["Turn on the [room:kitchen] lights, please!", "Lights on in the [room:bedroom]"],
    "SetLightColor": ["Make it [color:deep blue]", "It's time for [color:red] in the [room:hall]"],
}
SLURP = [  # scenario, action, annotated sentence
    ("alarm", "set", "wake me up at [time : ten], please."),
    ("email", "query", "any mail from [person : mary] @ work"),
    ("email", "querycontact", "call [person : raju] [personal_info : phone number]"),
    ("general", "quirky", "is this #fun"),
]


Speech = Sequence[np.ndarray]


def write_recording(path: Path, command: int, rng: np.random.Generator, speech: Speech) -> None:
    """The speech of a command, or a second of a tone whose pitch tells the command, with noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(16000) / 16000
    tone = 0.3 * np.sin(2 * np.pi * 180 * (1 + command) * times) * (1 + 0.1 * rng.standard_normal(len(times)))
    soundfile.write(path, speech[command % len(speech)] if speech else tone, 16000, subtype="PCM_16")


def write_fsc(root: Path, sizes: dict[str, int] | None = None, speech: Speech = ()) -> Path:
    """Tables with an unnamed first column, as published, and wavs of two speakers."""
    rng, number = np.random.default_rng(0), 0
    (root / "data").mkdir(parents=True)
    for part, size in (sizes or {"train": 6, "valid": 3, "test": 3}).items():
        lines = [",path,speakerId,transcription,action,object,location"]
        for row in range(size):
            command = row % len(FSC)
            transcription, intent = list(FSC.items())[command]
            speaker, number = ("2BqVo8kVB2Skwgyb", "AY5e3mMgZkIyG3Ox")[row % 2], number + 1
            path = f"wavs/speakers/{speaker}/{number:04d}-4474-11e9.wav"
            write_recording(root / path, command, rng, speech)
            lines.append(",".join([str(row), path, speaker, transcription, *intent]))
        (root / f"data/{part}_data.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def pieces(text: str) -> list[dict[str, str]]:
    """``on the [room:kitchen]`` in the form of dataset.json."""
    found = []
    for piece in text.replace("[", "\0[").replace("]", "\0").split("\0"):
        if piece.startswith("["):
            slot, value = piece[1:].split(":")
            found.append({"text": value, "entity": slot, "slot_name": slot})
        elif piece:
            found.append({"text": piece})
    return found


def write_snips(root: Path, copies: int = 3, speech: Speech = ()) -> Path:
    """Each text is spoken by so many speakers."""
    rng, recordings = np.random.default_rng(0), {}
    intents = {intent: {"utterances": [{"data": pieces(text)} for text in texts]} for intent, texts in SNIPS.items()}
    texts = ["".join(piece["text"] for piece in pieces(text)) for listed in SNIPS.values() for text in listed]
    for speaker in range(copies):
        for command, text in enumerate(texts):
            number = str(len(recordings))
            write_recording(root / f"speech_corpus/audio/{number}.wav", command, rng, speech)
            worker = {"id": f"1000{speaker}", "country": "USA", "gender": "female", "age": 30}
            recordings[number] = {"filename": f"{number}.wav", "text": f"{text}\n", "worker": worker}
    (root / "dataset.json").write_text(json.dumps({"language": "en", "intents": intents}), encoding="utf-8")
    (root / "speech_corpus/metadata.json").write_text(json.dumps(recordings), encoding="utf-8")
    return root


def write_slurp(root: Path, copies: int = 2, speech: Speech = ()) -> Path:
    """Each prompt has so many recordings in each part, one of them with a headset. The first one occurs twice."""
    rng, metadata, number = np.random.default_rng(0), {}, 1434542201
    folder = root / "dataset/slurp"
    folder.mkdir(parents=True)
    for part in ("train", "devel", "test", "train_synthetic"):
        lines = []
        for command, (scenario, action, annotation) in enumerate(SLURP):
            files = []
            for copy in range(copies):
                number += 1
                end = "-synth" if part == "train_synthetic" else "-headset" if copy else ""
                files.append(f"audio-{number}{end}.flac")
                kind = "slurp_synth" if part == "train_synthetic" else "slurp_real"
                write_recording(root / "audio" / kind / files[-1], command, rng, speech)
            listed = [*files, files[0]] if command == 0 else files
            plain = "".join(piece.rpartition(" : ")[2] for piece in annotation.replace("]", "[").split("["))
            prompt = {
                "slurp_id": command,
                "sentence": plain,
                "sentence_annotation": annotation,
                "intent": f"{scenario}_{action}",
            }
            prompt |= {"action": action, "scenario": scenario, "tokens": [], "entities": []}
            prompt["recordings"] = [{"file": file, "wer": 0.0, "ent_wer": 0.0, "status": "correct"} for file in listed]
            lines.append(json.dumps(prompt))
            if part != "train_synthetic":
                metadata[f"{part}{command}"] = {"recordings": {file: {"usrid": f"FO-{number % 2}"} for file in files}}
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return root


def edit(path: Path, old: str, new: str) -> None:
    """Replace a part of a file."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
