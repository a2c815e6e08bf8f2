"""Stage 4: drop the utterances that cannot be trained on, and list them with the reason.

python -m espnet_s3router.data filter dump/raw/org/SET dump/raw/SET --max_wav_duration 20
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.data.formatted import read_dropped, read_samples, write_formatted
from espnet_s3router.data.tokens import read_texts
from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.files import replacing_dir


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules that drop an utterance. Raises InputError for contradictory durations."""

    fs: int = 16000
    """Sampling rate in Hz."""
    min_wav_duration: float = 0.1
    """Seconds."""
    max_wav_duration: float = 20.0
    """Seconds."""
    tokenize: Callable[[str], Sequence[str]] | None = list
    """text -> tokens, for the rule of CTC; None disables that rule."""
    # wav2vec 2.0, HuBERT, WavLM and data2vec share one CNN: kernels 10 3 3 3 3 2 2, strides 5 2 2 2 2 2 2
    # (Baevski et al. 2020, section 4.2). One frame covers 400 samples, and a frame begins every 320 samples.
    hop: int = 320
    """Samples between the starts of two encoder frames."""
    receptive_field: int = 400
    """Samples that one encoder frame covers."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_wav_duration < self.max_wav_duration:
            raise InputError(
                f"filter: got min_wav_duration={self.min_wav_duration:g}, max_wav_duration={self.max_wav_duration:g}; "
                "expected 0 <= min < max, in seconds. Change the options."
            )

    def encoder_frames(self, samples: int) -> int:
        """Frames that the CNN of the upstream makes of ``samples``; 0 if they are too few for one frame."""
        return 0 if samples < self.receptive_field else (samples - self.receptive_field) // self.hop + 1

    def broken(self, samples: int, text: str) -> tuple[str, str] | None:
        """The first rule (name, detail) that drops an utterance of ``samples`` with the transcript ``text``, or None."""
        seconds = samples / self.fs
        if not text.strip():
            return "no_text", "empty transcript"
        if samples < self.receptive_field:
            return "under_a_frame", f"{samples} samples, one encoder frame needs {self.receptive_field}"
        if seconds < self.min_wav_duration:
            return "too_short", f"{seconds:.3f} s < {self.min_wav_duration:g} s"
        if seconds > self.max_wav_duration:
            return "too_long", f"{seconds:.3f} s > {self.max_wav_duration:g} s"
        if self.tokenize is not None:
            frames, needed = self.encoder_frames(samples), ctc_frames(self.tokenize(text))
            if needed > frames:
                return "over_tokens", f"CTC needs {needed} frames for the tokens, the encoder gives {frames}"
        return None


def ctc_frames(tokens: Sequence[str]) -> int:
    """Frames that CTC needs: one per token and one blank between equal neighbours (Graves et al. 2006)."""
    return len(tokens) + sum(a == b for a, b in pairwise(tokens))


def filter_data(src_dir: Path | str, dst_dir: Path | str, rules: Rules, text: str = "") -> Counter[str]:
    """Copy the tables of a formatted ``src_dir`` to ``dst_dir`` without the utterances that break a rule.

    ``text``: name of the table in ``src_dir`` whose transcripts replace those of ``text``. ``dropped.tsv`` lists the dropped
    utterances, after those that formatting dropped. Returns the count of each rule and of ``kept``. Raises InputError if
    ``src_dir`` is faulty or no utterance is left.
    """
    src = Path(src_dir)
    data = read_data_dir(src, allow_empty_text=True)
    if text:
        data = replace(data, text=read_texts(src, text))
        problems = [f"{text}: nothing for {utt!r}" for utt in sorted(data.wav.keys() - data.text.keys())]
        raise_problems(problems, str(src), "Expected a transcript for each recording: run stage 4 again.")
    samples = read_samples(src, data.wav)
    broken = {utt: rules.broken(samples[utt], data.text[utt]) for utt in sorted(data.wav)}
    kept = [utt for utt, rule in broken.items() if rule is None]
    dropped = [(utt, *rule) for utt, rule in broken.items() if rule]
    counts = Counter(rule for _, rule, _ in dropped)
    if not kept:
        raise InputError(f"{src}: no utterance is left of {len(broken)} ({dict(counts)}). Loosen the limits.")
    with replacing_dir(dst_dir) as temporary:
        write_formatted(temporary, data.subset(kept), {u: samples[u] for u in kept}, read_dropped(src) + dropped)
    return counts + Counter(kept=len(kept))
