"""Formatted data directories, which stages 3 and 4 write: a data directory plus ``utt2num_samples`` and ``dropped.tsv``."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, write_tables
from espnet_s3router.errors import raise_problems
from espnet_s3router.text_files import read_lines, read_table, write_table

Dropped = tuple[str, str, str]  # utterance, rule, detail


def write_formatted(path: Path, data: DataDir, samples: Mapping[str, int], dropped: Iterable[Dropped]) -> None:
    """Write the tables of ``data``, the samples of each utterance and the list of dropped ones into ``path``."""
    write_tables(path, data)
    write_table(path / "utt2num_samples", samples)
    (path / "feats_type").write_text("raw\n")
    write_tsv(path / "dropped.tsv", ("utt", "rule", "detail"), dropped)


def write_tsv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a header and rows of tab-separated fields."""
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")


def read_samples(path: Path, utts: Iterable[str]) -> dict[str, int]:
    """The number of samples of each utterance. Raises InputError for a directory that stage 3 did not write."""
    problems: list[str] = []
    table = read_table(path / "utt2num_samples", problems)
    problems += [f"utt2num_samples: no count for {u!r}" for u in utts if not table.get(u, "").isdigit()]
    raise_problems(problems, str(path), "Expected a formatted directory: run stage 3 (format) again.")
    return {utt: int(table[utt]) for utt in utts}


def read_dropped(path: Path) -> list[Dropped]:
    """The utterances that an earlier stage dropped; none if there is no ``dropped.tsv``."""
    listing = path / "dropped.tsv"
    lines = read_lines(listing)[1:] if listing.exists() else []
    return [(utt, rule, detail) for utt, rule, detail in (line.split("\t", 2) for line in lines)]
