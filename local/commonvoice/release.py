"""A release of Common Voice as it is unpacked: the folder of each language.

    cv-corpus-17.0-2024-03-15/LANG/{train,dev,test,validated,other,invalidated}.tsv   one clip a line
    cv-corpus-17.0-2024-03-15/LANG/clips/*.mp3
    cv-corpus-17.0-2024-03-15/LANG/clip_durations.tsv                                 since release 16.1

A delta release holds new clips without train, dev and test. Splits are drawn anew in every release.
"""

import re
from pathlib import Path

from espnet_s3router.errors import SHOWN, InputError

PAGE = "https://datacollective.mozillafoundation.org (Common Voice, scripted speech)"
CLIPS = "clips"
RELEASE = re.compile(r"cv-corpus-\d.*")
LISTS_HINT = "give lists of clips (--train_list, --dev_list, --test_list)"


def language_folder(root: Path, lang: str) -> Path:
    """The folder of a language in a release. Raises InputError, which says what is there instead of it."""
    expected = f"expected the unpacked release, which holds {lang}/clips and {lang}/train.tsv"
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {expected}. Get it from {PAGE}")
    if _is_language(root / lang):
        return root / lang
    inside = next((folder for folder in (root, root.parent) if _is_language(folder)), None)
    if inside:
        raise InputError(f"{root}: the folder of one language, or a part of it; {expected}. Give {inside.parent}")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    if releases := [path for path in folders if _is_language(path / lang)]:
        raise InputError(f"{root}: a folder of releases; {expected}. Give one of {', '.join(map(str, releases))}")
    there = ", ".join(path.name for path in folders[:SHOWN] if _is_language(path)) or "no language"
    raise InputError(f"{root}: no folder {lang!r}, there is {there}; {expected}. Get the archive of {lang} from {PAGE}")


def _is_language(folder: Path) -> bool:
    return (folder / CLIPS).is_dir() or any((folder / f"{name}.tsv").is_file() for name in ("train", "validated"))


def release_name(root: Path) -> str:
    """``cv-corpus-17.0-2024-03-15``, the name of the unpacked folder. Raises InputError for a folder of another name."""
    for name in (root.name, root.resolve().name):
        if RELEASE.fullmatch(name):
            return name
    raise InputError(
        f"{root}: the name does not tell the release, and splits differ between releases; expected a name such as "
        "cv-corpus-17.0-2024-03-15. Pass --release cv-corpus-…"
    )


def table_path(folder: Path, name: str) -> Path:
    """The table ``name`` of a language. Raises InputError if it is missing."""
    path = folder / f"{name}.tsv"
    if path.is_file():
        return path
    if (folder / "validated.tsv").is_file():
        why = f"A delta release holds new clips without train, dev and test: get the full release. Or {LISTS_HINT}"
    else:
        why = f"Unpack the archive of the language again. Get it from {PAGE}"
    raise InputError(f"{path}: no such table. {why}")


def audio_path(folder: Path, name: str) -> Path:
    """The audio file of a clip."""
    return folder / CLIPS / f"{name}.mp3"
