"""Fluent Speech Commands: recorded commands to a home assistant, 31 intents.

Lugosch et al. 2019, "Speech Model Pre-training for End-to-End Spoken Language Understanding" (arXiv 1904.03670). The user
gets the corpus from Fluent.ai under its own licence for research. Nothing of it belongs to this project.

    data/{train,valid,test}_data.csv     path, speakerId, transcription, action, object, location
    wavs/speakers/SPEAKER/FILE.wav

Texts and keys are those of ESPnet's recipe: ``action_object_location transcript``, key SPEAKER_FILE.wav.

    python -m local.intents.fsc --root DIR/fluent_speech_commands_dataset
"""

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.text_files import read_lines
from local.downloads import CHECK, CHECK_HELP
from local.intents.utterances import Utterances, label, notice_size, report, write_all

COLUMNS = ("path", "speakerId", "transcription", "action", "object", "location")
PARTS = ("train", "valid", "test")
INTENTS = 31


def find_folder(root: Path) -> Path:
    """The folder of the corpus. Raises InputError if the tables are not there."""
    for folder in (root, root / "fluent_speech_commands_dataset"):
        if all((folder / f"data/{part}_data.csv").is_file() for part in PARTS):
            return folder
    raise InputError(f"{root}: holds no data/train_data.csv, valid_data.csv and test_data.csv. Expected the unpacked corpus")


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a table, by the names of its columns, in any order. Raises InputError for a table that lacks some."""
    text = "\n".join(read_lines(path, expected="a table of the corpus in UTF-8")).removeprefix("\ufeff")
    table = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
        raise InputError(f"{path}: lacks the column {missing[0]}, it has {', '.join(filter(None, table.fieldnames or ()))}")
    for row in table:
        if any(row[name] is None for name in COLUMNS):
            raise InputError(f"{path} line {table.line_num}: has fewer columns than the first line. Unpack the corpus again")
        yield row


def read_part(root: Path, part: str) -> Utterances:
    """The utterances of a part. Characters outside ASCII are left out of transcripts, as in ESPnet's recipe."""
    found = Utterances(part)
    for row in read_rows(root / f"data/{part}_data.csv"):
        audio = root / row["path"]
        transcript = row["transcription"].encode("ascii", "ignore").decode()
        intent = label(row["action"], row["object"], row["location"])
        utt = f"{audio.parent.name}_{audio.name}"
        found.add(utt, audio=audio, speaker=row["speakerId"], intent=intent, transcript=transcript)
    return found


def prepare(root: Path, data_dir: Path) -> dict[str, tuple[int, int]]:
    """Write ``data_dir/{train,valid,test}``. Returns utterances and intents. Raises InputError for a faulty corpus."""
    folder = find_folder(root)
    datasets = [read_part(folder, part) for part in PARTS]
    counts = write_all(datasets, data_dir, folder)
    notice_size("intents in training", len(datasets[0].intents), INTENTS)
    return counts


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the datasets."""
    parser = argparse.ArgumentParser(prog="python -m local.intents.fsc", description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="the unpacked corpus, fluent_speech_commands_dataset")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument(CHECK, action="store_true", help=CHECK_HELP)
    args = parser.parse_args(argv)
    if args.check_corpus:
        print(f"tables and recordings are in {find_folder(args.root)}")
        return
    report(prepare(args.root, args.data_dir), args.data_dir)


if __name__ == "__main__":
    raise SystemExit(main())
