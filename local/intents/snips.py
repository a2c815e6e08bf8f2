"""SNIPS smart lights, close field: 1,660 recorded commands to lamps, six intents.

Saade et al. 2018, "Spoken Language Understanding on the Edge" (arXiv 1810.12735). The user asks for the corpus
and gets it under its own licence. Nothing of it belongs to this project.

    smart-lights-en-close-field/dataset.json                        intents, their texts and slots
    smart-lights-en-close-field/speech_corpus/metadata.json         text and speaker of each recording
    smart-lights-en-close-field/speech_corpus/audio/N.wav

Texts and keys are those of ESPnet's recipe: ``INTENT transcript`` in lower case without punctuation, key SPEAKER-N.wav.
Its split is by sorted key: 166 utterances for dev, then 166 for test, the rest for training. ``--split speakers`` gives
whole speakers to dev and test, in the order of their md5.

    python -m local.intents.snips --root DIR/smart-lights-en-close-field
"""

import argparse
import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status, raise_problems
from local.downloads import CHECK, CHECK_HELP
from local.intents.utterances import FIX, Entity, Utterances, notice_size, reading, report, write_all

FOLDER = "smart-lights-en-close-field"
SPLITS = ("espnet", "speakers")
PUBLISHED, HELD_OUT = 1660, 166
PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Command:
    """What is known of a text."""

    intent: str
    slots: tuple[Entity, ...]


def find_folder(root: Path) -> Path:
    """The folder of the corpus. Raises InputError if its files are not there."""
    for folder in (root, root / FOLDER):
        if (folder / "dataset.json").is_file() and (folder / "speech_corpus/metadata.json").is_file():
            return folder
    raise InputError(f"{root}: holds no dataset.json and speech_corpus/metadata.json. Expected the folder {FOLDER}")


def read_json(path: Path) -> Any:
    """The content of a file. Raises InputError if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}). Unpack the corpus again") from error


def on_one_line(text: str) -> str:
    """The text of a command in the form in which both files are compared."""
    return " ".join(text.split())


def read_commands(dataset: Mapping[str, Any]) -> dict[str, Command]:
    """Text -> its intent in capitals and its slots. Raises InputError for a text with two intents."""
    commands: dict[str, Command] = {}
    problems = []
    with reading("dataset.json"):
        utterances = [(intent, one) for intent, listed in dataset["intents"].items() for one in listed["utterances"]]
    for intent, utterance in utterances:
        with reading(f"dataset.json, {intent}"):
            text = on_one_line("".join(part["text"] for part in utterance["data"]))
            slots = tuple((part["slot_name"], transcript(part["text"])) for part in utterance["data"] if "slot_name" in part)
        before = commands.setdefault(text, Command(intent.upper().replace(" ", "_"), slots))
        if before.intent != intent.upper().replace(" ", "_"):
            problems.append(f"the text {text!r} has the intents {before.intent} and {intent.upper()}")
    raise_problems(problems, "dataset.json", FIX)
    return commands


def transcript(text: str) -> str:
    """Lower case, without ASCII punctuation, as in ESPnet's recipe."""
    return on_one_line(text.lower().translate(PUNCTUATION))


def part_of(keys: Mapping[str, str], split: str, held_out: int) -> dict[str, str]:
    """Key -> train, dev or test. ``keys``: key -> speaker. Raises InputError if nothing would be left for training."""
    groups: list[list[str]] = [[key] for key in sorted(keys)]
    if split == "speakers":
        by_speaker: dict[str, list[str]] = {}
        for key in sorted(keys):
            by_speaker.setdefault(keys[key], []).append(key)
        order = sorted(by_speaker, key=lambda name: hashlib.md5(name.encode(), usedforsecurity=False).hexdigest())
        groups = [by_speaker[speaker] for speaker in order]
    parts, sizes = dict[str, str](), {"dev": 0, "test": 0}
    for group in groups:
        part = next((name for name, size in sizes.items() if size < held_out), "train")
        parts |= dict.fromkeys(group, part)
        if part in sizes:
            sizes[part] += len(group)
    if "train" not in parts.values():
        raise InputError(f"{len(keys)} utterances of {len(set(keys.values()))} speakers leave none for training. {FIX}")
    return parts


def prepare(
    root: Path, data_dir: Path, *, split: str = "espnet", held_out: int = HELD_OUT, slots: bool = False
) -> dict[str, tuple[int, int]]:
    """Write ``data_dir/{train,dev,test}``. Names end in ``_speakers`` with that split, in ``_entities`` with ``slots``.

    Returns utterances and intents. Raises InputError for a faulty corpus, before anything is written.
    """
    folder = find_folder(root)
    commands = read_commands(read_json(folder / "dataset.json"))
    end = ("" if split == SPLITS[0] else f"_{split}") + ("_entities" if slots else "")
    datasets = {part: Utterances(part + end) for part in ("train", "dev", "test")}
    metadata = folder / "speech_corpus/metadata.json"
    with reading(str(metadata)):
        recordings, speakers = dict(read_json(metadata).items()), {}
    for number, one in recordings.items():
        with reading(f"{metadata}, entry {number}"):
            speakers[f"{one['worker']['id']}-{one['filename']}"] = str(one["worker"]["id"])
    parts = part_of(speakers, split, held_out)
    for one in recordings.values():
        utt, text = f"{one['worker']['id']}-{one['filename']}", on_one_line(one["text"])
        found = datasets[parts[utt]]
        if text not in commands:
            found.problems.append(f"dataset.json does not hold the text {text!r} of {one['filename']}")
            continue
        about = {"audio": folder / "speech_corpus/audio" / one["filename"], "speaker": speakers[utt]}
        entities = commands[text].slots if slots else None
        found.add(utt, **about, intent=commands[text].intent, transcript=transcript(text), entities=entities)
    counts = write_all(list(datasets.values()), data_dir, folder)
    notice_size("recordings", len(recordings), PUBLISHED)
    return counts


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the datasets."""
    parser = argparse.ArgumentParser(prog="python -m local.intents.snips", description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help=f"the unpacked corpus, {FOLDER}")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--split", choices=SPLITS, default=SPLITS[0], help="by sorted key, or by whole speakers")
    parser.add_argument("--held_out", type=int, default=HELD_OUT, help="utterances of dev, and of test")
    parser.add_argument(
        "--entities", action="store_true", help="texts with slots: INTENT SEP type FILL filler … SEP transcript"
    )
    parser.add_argument(CHECK, action="store_true", help=CHECK_HELP)
    args = parser.parse_args(argv)
    if args.check_corpus:
        print(f"texts and recordings are in {find_folder(args.root)}")
        return
    counts = prepare(args.root, args.data_dir, split=args.split, held_out=args.held_out, slots=args.entities)
    report(counts, args.data_dir)


if __name__ == "__main__":
    raise SystemExit(main())
