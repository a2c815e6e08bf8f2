"""The data of training and decoding: where a set lies, and digests of it, by which markers tell that it changed."""

import argparse
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.files import digest

LENGTHS, TEXT = "utt2num_samples", "text"
WHOLE = "whole"  # below the dump: the validation set as it is decoded, without the filter of training


def folder_of_set(args: argparse.Namespace, name: str) -> Path:
    """What is decoded and scored as the test set ``name``."""
    return Path(args.dump) / (WHOLE if name == args.valid_set else "") / name


def digest_of_data(*paths: Path) -> str:
    """SHA-256 of the files of a data set, one after the other; InputError for a missing file."""
    try:
        return digest(*paths)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}). Run stages 3 and 4") from error


def names_of_data(args: argparse.Namespace) -> str:
    """The sets and the token list that statistics are of, in one line."""
    return f"{args.train_set} {args.valid_set} {args.token_list}\n"


def digests_of_data(args: argparse.Namespace) -> str:
    """Training and validation set, each with the digest of its text and lengths, a line each."""
    folders = {name: Path(args.dump) / name for name in (args.train_set, args.valid_set)}
    return "".join(f"{name} {digest_of_data(folder / TEXT, folder / LENGTHS)}\n" for name, folder in folders.items())
