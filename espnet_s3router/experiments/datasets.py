"""Digests of datasets: markers hold them, so that a dataset that has changed since is noticed."""

from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.experiments import layout
from espnet_s3router.experiments.options import Options
from espnet_s3router.files import digest


def digest_of_data(*paths: Path) -> str:
    """SHA-256 of the files of a dataset, one after the other. Raises InputError for a missing file."""
    try:
        return digest(*paths)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}). Run stages 3 and 4") from error


def digest_of_recordings(options: Options, name: str) -> str:
    """Digest of the recordings' names and lengths of a test set."""
    return digest_of_data(Path(options.test_data(name), layout.LENGTHS))


def digest_of_transcripts(options: Options, name: str) -> str:
    """Digest of the reference text of a test set."""
    return digest_of_data(Path(options.test_data(name), layout.TEXT))


def names_of_data(options: Options) -> str:
    """Training set, validation set and token list of the statistics, in one line."""
    return f"{options.training_set} {options.valid_set} {options.token_list}\n"


def digests_of_data(options: Options) -> str:
    """Training and validation set, one line each: the name, and the digest of text and lengths."""
    folders = {name: Path(options.raw, name) for name in (options.training_set, options.valid_set)}
    digests = {name: digest_of_data(folder / layout.TEXT, folder / layout.LENGTHS) for name, folder in folders.items()}
    return "".join(f"{name} {value}\n" for name, value in digests.items())
