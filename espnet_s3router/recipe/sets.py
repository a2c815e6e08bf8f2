"""The data of training and decoding: where a set lies, and digests of it, by which markers tell that it changed."""

import argparse
import hashlib
from pathlib import Path

from espnet_s3router.errors import InputError

LENGTHS, TEXT = "utt2num_samples", "text"
WHOLE = "whole"  # below the dump: the validation set as it is decoded, without the filter of training


def folder_of_set(args: argparse.Namespace, name: str) -> Path:
    """What is decoded and scored as the test set ``name``."""
    return Path(args.dump) / (WHOLE if name == args.valid_set else "") / name


def digest(*paths: Path) -> str:
    """SHA-256 of files, one after the other; InputError for one that is not there."""
    found = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                hashlib.file_digest(file, lambda: found)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}). Run stages 3 and 4, which make it") from error
    return found.hexdigest()


def names_of_data(args: argparse.Namespace) -> str:
    """The sets and the token list that statistics are of, in one line."""
    return f"{args.train_set} {args.valid_set} {args.token_list}\n"


def digests_of_data(args: argparse.Namespace) -> str:
    """Training and validation set, each with the digest of its text and lengths, a line each."""
    folders = {name: Path(args.dump) / name for name in (args.train_set, args.valid_set)}
    return "".join(f"{name} {digest(folder / TEXT, folder / LENGTHS)}\n" for name, folder in folders.items())
