"""Recordings that an export to ONNX is checked on, and the gate: how much an int8 model may lose."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from espnet_s3router.bin.recordings import read_wave, spread
from espnet_s3router.errors import InputError

ALLOWED_LOSS = 0.5
"""Percentage points of an error rate that an int8 model may lose against the trained model."""


@dataclass(frozen=True)
class Recordings:
    """Paths of audio by utterance, and the reference texts of those that have one."""

    paths: Mapping[str, str]
    texts: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    """Utterances of the data directory that were not taken."""

    def waves(self) -> dict[str, Callable[[], Any]]:
        """Readers of the samples (samples,) at 16 kHz, as tensors."""
        return {key: partial(read_wave, path) for key, path in self.paths.items()}


def recordings_of(audio: Sequence[str], folder: str | Path | None, count: int | None = None) -> Recordings:
    """The files ``audio``, and all utterances of a Kaldi-style data directory, or ``count`` spread over it."""
    from espnet_s3router.data.data_dir import read_data_dir

    paths = {path: path for path in audio}
    if folder is None:
        return Recordings(paths)
    data = read_data_dir(folder, check_audio=False)
    chosen = chosen_of(data.wav, data.text, count)
    return replace(chosen, paths=paths | dict(chosen.paths))


def chosen_of(paths: Mapping[str, str], texts: Mapping[str, str], count: int | None) -> Recordings:
    """All utterances of two tables, or ``count`` of them at equal distances."""
    chosen = spread(sorted(paths), count)
    left_out = len(paths) - len(chosen)
    return Recordings({key: paths[key] for key in chosen}, {key: texts[key] for key in chosen}, left_out)


def gate_of(recordings: Recordings, *, phones: bool, accept_loss: bool) -> Callable[..., dict[str, Any]]:
    """A gate for ``export_experiment`` that compares error rates on the utterances with a reference text.

    The gate returns the error rates of both models in percent, on how many utterances, and how many of the data directory
    are missing there. It raises InputError if a rate of the int8 model is more than ALLOWED_LOSS above that of the trained
    model, unless the loss is accepted.
    """

    def gate(trained: Mapping[str, str], int8: Mapping[str, str]) -> dict[str, Any]:
        known = {key: text for key, text in recordings.texts.items() if key in trained}
        if not known:
            return {}
        before, after = error_rates(known, trained, phones), error_rates(known, int8, phones)
        lost = {metric: after[metric] - before[metric] for metric in before}
        metric = max(lost, key=lambda name: lost[name])
        if lost[metric] > ALLOWED_LOSS and not accept_loss:
            raise InputError(
                f"int8 loses too much: {metric.upper()} {before[metric]:.2f} becomes {after[metric]:.2f} % on {len(known)} "
                f"utterances, expected at most {ALLOWED_LOSS} more. Nothing was written. Export fp32 alone, or accept "
                "this with --accept_loss"
            )
        left_out = recordings.left_out + len(recordings.texts) - len(known)
        judged = {"utterances_with_text": len(known), "utterances_left_out": left_out}
        return judged | {"error_rates": before, "error_rates_int8": after}

    return gate


def error_rates(references: Mapping[str, str], texts: Mapping[str, str], phones: bool) -> dict[str, float]:
    """WER and CER in percent, or the phone error rate."""
    from espnet_s3router.results.alignment import align, tokenise
    from espnet_s3router.results.scoring import totals

    rates = {}
    for name, metric in {"per": "wer"}.items() if phones else {"wer": "wer", "cer": "cer"}.items():
        sides = [{key: tokenise(side[key], metric) for key in references} for side in (references, texts)]
        rates[name] = round(totals(row.counts for row in align(*sides).values()).rate, 3)
    return rates


def check_gate(recordings: Recordings, kinds: Sequence[str], accept_loss: bool) -> None:
    """Raises InputError if an int8 model could not be judged."""
    if "int8" in kinds and not recordings.texts and not accept_loss:
        raise InputError(
            "int8 needs recordings with texts: its error rates are compared on them. Give a Kaldi-style data directory with "
            "--check_data DIR, or write it unchecked with --accept_loss"
        )
