"""SLURP: recorded requests to a home assistant, with a scenario, an action and entities.

Bastianelli et al. 2020, "SLURP: A Spoken Language Understanding Resource Package" (arXiv 2011.13205). The user clones
https://github.com/pswietojanski/slurp (texts CC-BY-4.0) and downloads the audio (CC-BY-NC-4.0) with its script.

    dataset/slurp/{train,devel,test}.jsonl      scenario, action, sentence, sentence_annotation, recordings
    dataset/slurp/metadata.json                 speaker (usrid) of each recording
    audio/slurp_real/audio-*.flac               with --synthetic also train_synthetic.jsonl and audio/slurp_synth

Texts and keys are those of ESPnet's recipes: ``scenario_action transcript``, key slurp_SPEAKER_RECORDING. ``--entities``:
``scenario_action SEP type FILL filler … SEP transcript``.

    python -m local.intents.slurp --root DIR/slurp
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.text_files import read_lines
from local.downloads import CHECK, CHECK_HELP
from local.intents.snips import read_json
from local.intents.utterances import Entity, Utterances, label, reading, report, write_all

PARTS = ("train", "devel", "test")
REAL, SYNTHETIC = "slurp_real", "slurp_synth"
NEEDED = ("scenario", "action", "sentence", "recordings")
ENTITY = re.compile(r"\[([^\[\]:]*):([^\[\]]*)\]")


def find_folder(root: Path) -> Path:
    """The folder of the tables. Raises InputError if they are not there."""
    folder = root / "dataset/slurp"
    names = [*(f"{part}.jsonl" for part in PARTS), "metadata.json"]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise InputError(f"{folder}: lacks {', '.join(missing)}. Expected a clone of the corpus, with its metadata")
    return folder


def read_prompts(path: Path) -> Iterator[dict[str, Any]]:
    """The prompts of a file, one JSON object on each line. Raises InputError that names a broken line."""
    for number, line in enumerate(read_lines(path, expected="a file of the corpus"), 1):
        if not line.strip():
            continue
        try:
            prompt = json.loads(line)
            missing = [key for key in NEEDED if key not in prompt]
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} line {number}: is not JSON ({error}). Get the file again") from error
        if missing:
            raise InputError(f"{path} line {number}: lacks {missing[0]!r}. Get the file again")
        yield prompt


def read_speakers(path: Path) -> dict[str, str]:
    """Name of a recording, without ``audio-`` and suffix -> its speaker."""
    speakers = {}
    with reading(str(path)):
        prompts = read_json(path).items()
    for key, prompt in prompts:
        with reading(f"{path}, entry {key}"):
            speakers |= {recording_of(file): about["usrid"] for file, about in prompt["recordings"].items()}
    return speakers


def recording_of(file: str) -> str:
    """``1434542201-headset`` for ``audio-1434542201-headset.flac``."""
    return file.removeprefix("audio-").removesuffix(".flac")


def transcript(sentence: str) -> str:
    """``@`` as at, ``#`` as hashtag, no commas and full stops, ``<unk>`` as unknown: as in ESPnet's recipe."""
    text = sentence.replace("@", " at ").replace("#", " hashtag ").replace(",", "").replace(".", "")
    return " ".join(text.replace("<unk>", "unknown").split())


def entities_of(prompt: Mapping[str, Any]) -> list[Entity]:
    """(type, filler) of each entity of a prompt, in order, from its annotation or, without one, from its tokens."""
    if "sentence_annotation" in prompt:
        found = ENTITY.findall(prompt["sentence_annotation"])
    else:
        words = [token["surface"] for token in prompt["tokens"]]
        found = [(one["type"], " ".join(words[at] for at in one["span"])) for one in prompt["entities"]]
    return [(label(kind), " ".join(filler.replace("<unk>", "unknown").split())) for kind, filler in found]


def read_part(
    root: Path, part: str, speakers: Mapping[str, str], *, synthetic: bool, entities: bool, seen: set[str]
) -> Utterances:
    """The utterances of a part. ``seen``: recordings of former parts; a recording counts once, where it occurs first."""
    name = f"{part}_synthetic" if synthetic and part == "train" else part
    found, foreign = Utterances(f"{name}_entities" if entities else name), []
    for kind, name in ((REAL, part), (SYNTHETIC, "train_synthetic")) if synthetic and part == "train" else ((REAL, part),):
        for prompt in read_prompts(root / f"dataset/slurp/{name}.jsonl"):
            with reading(f"{name}.jsonl, the prompt {prompt['sentence']!r}"):
                text, of_prompt = transcript(prompt["sentence"]), entities_of(prompt) if entities else None
                files = [recording["file"] for recording in prompt["recordings"]]
            text = text.lower() if kind == SYNTHETIC else text
            plain = "".join(prompt["sentence"].lower().replace("<unk>", "unknown").split())
            foreign += [filler for _, filler in of_prompt or () if "".join(filler.lower().split()) not in plain]
            for file in files:
                recording = recording_of(file)
                if recording in seen:
                    continue
                seen.add(recording)
                speaker = "synthetic" if kind == SYNTHETIC else speakers.get(recording, "")
                if not speaker:
                    found.problems.append(f"metadata.json names no speaker of {file}")
                    continue
                found.add(
                    f"slurp_{speaker}_{recording}", audio=root / "audio" / kind / file, speaker=f"slurp_{speaker}",
                    intent=label(prompt["scenario"], prompt["action"]), transcript=text, entities=of_prompt,
                )  # fmt: skip
    if foreign:
        about = f"{len(foreign)} fillers that their sentence does not hold, kept as annotated"
        print(f"notice: {found.name} has {about}: {foreign[0]!r}", file=sys.stderr)
    return found


def prepare(root: Path, data_dir: Path, *, synthetic: bool = False, entities: bool = False) -> dict[str, tuple[int, int]]:
    """Write ``data_dir/{train,devel,test}``; with ``entities`` ``{train,devel,test}_entities``. The name of a training set
    with synthetic speech is ``train_synthetic``.

    Returns utterances and intents. Raises InputError for a faulty corpus, before anything is written.
    """
    speakers, seen = read_speakers(find_folder(root) / "metadata.json"), set[str]()
    options: dict[str, Any] = {"synthetic": synthetic, "entities": entities, "seen": seen}
    return write_all([read_part(root, part, speakers, **options) for part in PARTS], data_dir, root)


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the datasets."""
    parser = argparse.ArgumentParser(prog="python -m local.intents.slurp", description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="clone of the corpus, with its audio in audio/")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--synthetic", action="store_true", help="add the synthetic speech to training")
    parser.add_argument(
        "--entities", action="store_true", help="texts with entities: INTENT SEP type FILL filler … SEP transcript"
    )
    parser.add_argument(CHECK, action="store_true", help=CHECK_HELP)
    args = parser.parse_args(argv)
    if args.check_corpus:
        print(f"tables are in {find_folder(args.root)}, recordings in {args.root / 'audio'}")
        return
    counts = prepare(args.root, args.data_dir, synthetic=args.synthetic, entities=args.entities)
    report(counts, args.data_dir)


if __name__ == "__main__":
    raise SystemExit(main())
