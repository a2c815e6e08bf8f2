"""Common Voice (Ardila et al. 2020, arXiv 1912.06670): read speech, one language at a time, in releases 5.1 to 25.

Licence CC0-1.0. Since late 2025 the Mozilla Data Collective hands the corpus out on request. Its terms forbid to pass it on.
Unpack the archives of one release into one folder, and give that folder:

    python -m local.commonvoice --root DIR/cv-corpus-17.0-2024-03-15 --lang es
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from local.commonvoice.choices import UNITS, Choices
from local.commonvoice.prepare import look, prepare
from local.commonvoice.selection import SPLITS
from local.downloads import CHECK, CHECK_HELP


def path_for(lang: str, template: str) -> Path:
    """A path that may hold ``{lang}`` (sv-SE) or ``{language}`` (sv). Raises InputError for another name in braces."""
    try:
        return Path(template.format(lang=lang, language=lang.partition("-")[0]))
    except (LookupError, ValueError) as error:
        raise InputError(
            f"{template}: cannot be filled in ({error}). Expected {{lang}} or {{language}} in braces"
        ) from error


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the datasets of one language."""
    parser = argparse.ArgumentParser(prog="python -m local.commonvoice", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="the unpacked release, which holds LANG/clips")
    parser.add_argument("--lang", required=True, help="language, as in Common Voice: es, sv-SE, zh-TW, …")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--release", default="", help="name of the release, if the folder does not tell it")
    parser.add_argument("--minutes", type=float, default=60, help="duration of the training set")
    parser.add_argument("--dev_minutes", type=float, default=60, help="most minutes of the validation set; 0: all")
    parser.add_argument("--units", choices=UNITS, default="characters", help="what is recognised")
    for split in SPLITS:
        parser.add_argument(f"--{split}_list", help=f"file with the clips of {split}; {{lang}} stands for the language")
    parser.add_argument("--phone_labels", help="file with the phones of each clip, in place of espeak-ng's")
    parser.add_argument("--shared_speakers", choices=("error", "drop"), default="error", help="speakers of two datasets")
    parser.add_argument("--on_bad", choices=("error", "drop"), default="error", help="clips without audio or text")
    parser.add_argument(CHECK, action="store_true", help=CHECK_HELP)
    args = vars(parser.parse_args(argv))
    root, data_dir, lang, labels = (args.pop(name) for name in ("root", "data_dir", "lang", "phone_labels"))
    only_check = args.pop("check_corpus")
    files = {split: args.pop(f"{split}_list") for split in SPLITS}
    choices = Choices(
        lang=lang,
        lists={split: path_for(lang, file) for split, file in files.items() if file},
        phone_labels=path_for(lang, labels) if labels else None,
        **args,
    )
    if only_check:
        print(f"{lang}: {look(root, choices)}")
        return
    for name, dataset in prepare(root, data_dir, choices).items():
        about = " ".join(
            f"{dataset.record[key]} {key}," for key in ("clips", "speakers", "seconds") if key in dataset.record
        )
        print(f"{data_dir / name}: {about} {dataset.record['release']}")


if __name__ == "__main__":
    raise SystemExit(main())
