"""What a recording asks for: its intent, entities and transcript, by a route whose texts begin with an intent."""

from dataclasses import dataclass

from espnet_s3router.errors import InputError
from espnet_s3router.results.understanding.entities import Entity, parse
from espnet_s3router.serving.router import Models, Router, understands
from espnet_s3router.serving.transcript import Audio


@dataclass(frozen=True)
class Understanding:
    """What was understood of one recording."""

    task: str
    """Name of the route."""
    intent: str
    """Empty if the model gave nothing."""
    probability: float | None
    """Mean probability of the intent in its frames; None after beam search, or without an intent."""
    entities: list[Entity]
    transcript: str
    """What follows the intent and the entities; empty for a model of intents alone."""


def understand(router: Router, audio: Audio, task: str) -> Understanding:
    """Understand a file, or samples (samples,) at 16 kHz. ``task``: the name of the route.

    Raises InputError for an unknown name and for a route that transcribes, and BadAudio for a file that cannot be read.
    """
    check_task(router.bank, task)
    words = router.transcribe(audio, task).words
    if not words:
        return Understanding(task, "", None, [], "")
    entities, transcript = parse(" ".join(word.text for word in words[1:]))
    return Understanding(task, words[0].text, words[0].probability, entities, transcript)


def check_task(models: Models, task: str) -> None:
    """Raises InputError for an unknown route, and for one that transcribes."""
    if not understands(models, task):
        raise InputError(
            f"route {task} transcribes, its texts do not begin with an intent. Use s3router transcribe --lang {task}"
        )
