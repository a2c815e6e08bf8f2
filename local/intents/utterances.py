"""Utterances with an intent, as the corpora of this folder give them, and what can be wrong with them.

A text is ``INTENT transcript``, or ``INTENT SEP type FILL filler … SEP transcript`` with entities, as in ESPnet's recipes.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.errors import InputError, raise_problems

SEP, FILL = "SEP", "FILL"
FIX = "Nothing was written. Expected the corpus as it is published: unpack it again"
Entity = tuple[str, str]  # type, filler


@contextmanager
def reading(entry: str) -> Iterator[None]:
    """Raises InputError that names ``entry``, such as a file and a key in it, if the block finds a field missing there."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        problem = f"lacks {error}" if isinstance(error, KeyError) else f"has another form than published ({error})"
        raise InputError(f"{entry}: {problem}. {FIX}") from error


def label(*parts: str) -> str:
    """The parts of an intent as one word: ``change language``, ``none`` as ``change_language_none``."""
    return "_".join("_".join(part.split()) for part in parts)


def with_entities(intent: str, entities: Iterable[Entity], transcript: str) -> str:
    """The text of an utterance with entities, sorted by type as in ESPnet's recipe."""
    named = (f"{SEP} {kind} {FILL} {filler.lower()}" for kind, filler in sorted(entities, key=lambda e: e[0].lower()))
    return " ".join([intent, *named, SEP, transcript])


@dataclass
class Utterances:
    """The utterances of one dataset."""

    name: str
    """of the data directory"""
    data: DataDir = field(default_factory=lambda: DataDir({}, {}, {}))
    problems: list[str] = field(default_factory=list)

    def add(
        self, utt: str, *, audio: Path, speaker: str, intent: str, transcript: str, entities: Sequence[Entity] | None = None
    ) -> None:
        """Add one utterance, or what is wrong with it. ``entities``: None for a text without them."""
        if utt in self.data.wav:
            self.problems.append(f"{utt} occurs twice, for example for {audio}")
        elif not audio.is_file():
            self.problems.append(f"the recording {audio} is missing")
        elif not intent.strip("_"):
            self.problems.append(f"{utt} has no intent")
        elif not (transcript := " ".join(transcript.split())):
            self.problems.append(f"the transcript of {utt} is empty")
        else:
            text = f"{intent} {transcript}" if entities is None else with_entities(intent, entities, transcript)
            self.data.wav[utt], self.data.utt2spk[utt], self.data.text[utt] = str(audio), speaker, text

    @property
    def intents(self) -> set[str]:
        """The intents that occur."""
        return {text.split()[0] for text in self.data.text.values()}


def write_all(datasets: Sequence[Utterances], data_dir: Path, where: Path) -> dict[str, tuple[int, int]]:
    """Write ``data_dir/NAME`` of each dataset, once all are checked. Returns utterances and intents of each.

    Raises InputError for the problems of all of them. ``where``: the folder of the corpus, for the message.
    """
    problems = [f"{one.name}: {problem}" for one in datasets for problem in one.problems]
    problems += [f"{one.name}: no utterances" for one in datasets if not (one.data.wav or one.problems)]
    raise_problems(problems, str(where), FIX)
    for one in datasets:
        write_data_dir(data_dir / one.name, one.data)
    return {one.name: (len(one.data.wav), len(one.intents)) for one in datasets}


def report(counts: Mapping[str, tuple[int, int]], data_dir: Path) -> None:
    """Print the sizes of what was written."""
    for name, (utts, intents) in counts.items():
        print(f"{data_dir / name}: {utts} utterances, {intents} intents")


def notice_size(what: str, found: int, published: int) -> None:
    """A notice where a corpus differs in size from the published one."""
    if found != published:
        print(f"notice: found {found} {what}, published are {published}", file=sys.stderr)
