"""``meta.yaml`` of a pack: ESPnet's lists of files, and under ``s3router`` what this package adds."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.files import digest, read_yaml, write_atomic

META = "meta.yaml"
CARD = "README.md"
FORMAT = 1
"""The newest format of the key ``s3router``."""
BAKED, ROUTES, EXPERIMENT = KINDS = ("baked", "routes", "experiment")
SUFFIXES = (".yaml", ".md", ".json", ".txt", ".png", ".route", ".safetensors", ".pt", ".pth", ".bin", ".model", ".npz")
"""Types of files in a pack. Each is read without running code from it: checkpoints as tensors only."""
TEXTS = ("LICENSE", "LICENCE", "NOTICE")
"""Files without a type."""
ANOTHER = "Get another copy, or write the pack again with s3router pack"


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What a pack says about itself."""

    kind: str
    """``baked``: a model for stock ESPnet. ``routes``: routes of one base. ``experiment``: any other model."""
    task: str
    """asr or slu"""
    files: dict[str, str]
    """ESPnet's keywords, or ``route_NAME``, to paths in the pack."""
    yaml_files: dict[str, str]
    """ESPnet's keywords to configuration files in the pack."""
    espnet: str = ""
    """Version of ESPnet that the pack was made with."""
    facts: dict[str, Any]
    """Language, licence, decoding, base, results and the like: what the card shows."""

    @property
    def routes(self) -> dict[str, str]:
        """Route names to paths in the pack."""
        return {key.removeprefix("route_"): path for key, path in self.files.items() if key.startswith("route_")}


def write_meta(folder: Path, meta: Meta) -> None:
    """Write ``meta.yaml`` with the digest of every file in ``folder``. Equal folders give equal bytes."""
    content = {
        "files": meta.files,
        "yaml_files": meta.yaml_files,
        "python": platform.python_version(),
        "torch": version("torch"),
        "espnet": version("espnet"),
        "s3router": {
            "format": FORMAT,
            "version": version("espnet-s3router"),
            "kind": meta.kind,
            "task": meta.task,
            "sha256": {name: digest(folder / name) for name in files_below(folder) if name not in (META, CARD)},
            "facts": meta.facts,
        },
    }
    write_atomic(folder / META, yaml.safe_dump(content, allow_unicode=True))


def read_meta(folder: Path) -> Meta:
    """The checked ``meta.yaml`` of a pack.

    Raises InputError for a folder that is no pack, a newer format, paths that leave the folder, types of files that packs do
    not have, and files that are missing or changed. ESPnet rewrites paths in YAML files, so their digests are not compared.
    """
    if not (folder / META).is_file():
        raise InputError(f"{folder}: holds no {META}, expected a pack that s3router pack wrote")
    content = read_yaml(folder / META)
    ours = content.get("s3router")
    if not isinstance(ours, dict):
        raise InputError(
            f"{folder}: is a model of ESPnet, but no pack of this package. Open it with "
            "espnet2.bin.asr_inference.Speech2Text.from_pretrained"
        )
    if isinstance(ours.get("format"), int) and ours["format"] > FORMAT:
        raise InputError(
            f"{folder}: has format {ours['format']}, expected at most {FORMAT}: a newer espnet-s3router wrote it. Upgrade"
        )
    files, yaml_files = (_texts(folder, key, content.get(key)) for key in ("files", "yaml_files"))
    digests = _texts(folder, "sha256", ours.get("sha256"))
    if ours.get("kind") not in KINDS or ours.get("task") not in ("asr", "slu") or not isinstance(ours.get("facts"), dict):
        raise InputError(f"{folder}: {META} lacks kind ({' or '.join(KINDS)}), task or facts. {ANOTHER}")
    _check_files(folder, digests, {*files.values(), *yaml_files.values()})
    fields = {"kind": ours["kind"], "task": ours["task"], "facts": ours["facts"], "espnet": str(content.get("espnet", ""))}
    return Meta(files=files, yaml_files=yaml_files, **fields)


def _texts(folder: Path, key: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise InputError(f"{folder}: {META} has {key}: {value!r:.60}, expected a mapping of names. {ANOTHER}")
    return value


def _check_files(folder: Path, digests: dict[str, str], listed: set[str]) -> None:
    problems = [f"{name}: leaves the pack" for name in sorted({*digests, *listed}) if escapes(name)]
    names = [name for name in sorted({*digests, *listed}) if not escapes(name)]
    problems += [f"{name}: is missing" for name in names if not (folder / name).is_file()]
    problems += [f"{name}: has no digest in {META}" for name in sorted(listed - digests.keys())]
    problems += [f"{name}: packs hold no such files" for name in names if not is_known(Path(name))]
    if not problems:
        fixed = (name for name in names if not name.endswith(".yaml"))
        problems = [f"{name}: is damaged, or was changed" for name in fixed if digest(folder / name) != digests[name]]
    raise_problems(problems, str(folder), ANOTHER)


def is_known(path: Path) -> bool:
    """True if packs may hold files of this type or name."""
    return path.suffix in SUFFIXES or path.name in TEXTS


def escapes(name: str) -> bool:
    """True if a path of an archive leads out of the folder that it is unpacked to."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts


def files_below(folder: Path) -> list[str]:
    """Paths of all files of a folder, relative to it, in order. Hidden files are left out."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
