"""Stage 4: leave out what cannot be trained on, by rule, and say what was left out.

python -m espnet_s3router.data filter dump/raw/org/SET dump/raw/SET --max_wav_duration 20
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from espnet_s3router.data.data_dir import read_data_dir, write_tables
from espnet_s3router.data.format import write_dropped
from espnet_s3router.data.tables import raise_problems, read_table, write_table
from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_dir

# wav2vec 2.0, HuBERT, WavLM and data2vec share one CNN: kernels 10 3 3 3 3 2 2, strides 5 2 2 2 2 2 2
# (Baevski et al. 2020, section 4.2), so a frame sees 400 samples and comes every 320.
RECEPTIVE_FIELD = 400  # samples
HOP = 320  # samples

Tokenize = Callable[[str], Sequence[str]]


def encoder_frames(samples: int, *, hop: int = HOP, receptive_field: int = RECEPTIVE_FIELD) -> int:
    """Frames that the upstream's CNN makes of ``samples``; 0 when shorter than one frame."""
    return 0 if samples < receptive_field else (samples - receptive_field) // hop + 1


def ctc_frames(tokens: Sequence[str]) -> int:
    """Frames that CTC needs: one a token and a blank between equal neighbours (Graves et al. 2006)."""
    return len(tokens) + sum(a == b for a, b in pairwise(tokens))


def rule_for(
    samples: int,
    text: str,
    *,
    fs: int,
    min_wav_duration: float,
    max_wav_duration: float,
    tokenize: Tokenize | None = list,
    hop: int = HOP,
    receptive_field: int = RECEPTIVE_FIELD,
) -> tuple[str, str] | None:
    """The rule (name, detail) that leaves an utterance out, or None. Durations in seconds."""
    seconds = samples / fs
    if not text.strip():
        return "no_text", "empty transcript"
    if samples < receptive_field:
        return "under_a_frame", f"{samples} samples, one encoder frame needs {receptive_field}"
    if seconds < min_wav_duration:
        return "too_short", f"{seconds:.3f} s < {min_wav_duration:g} s"
    if seconds > max_wav_duration:
        return "too_long", f"{seconds:.3f} s > {max_wav_duration:g} s"
    if tokenize is not None:
        frames = encoder_frames(samples, hop=hop, receptive_field=receptive_field)
        needed = ctc_frames(tokenize(text))
        if needed > frames:
            return "over_tokens", f"CTC needs {needed} frames for the tokens, the encoder gives {frames}"
    return None


def filter_data(
    src_dir: Path | str,
    dst_dir: Path | str,
    *,
    fs: int = 16000,
    min_wav_duration: float = 0.1,
    max_wav_duration: float = 20.0,
    tokenize: Tokenize | None = list,
    hop: int = HOP,
    receptive_field: int = RECEPTIVE_FIELD,
) -> Counter[str]:
    """Copy the tables of a formatted ``src_dir`` to ``dst_dir`` without what a rule leaves out.

    ``tokenize`` (text -> tokens; characters by default) serves the CTC rule; None switches it off.
    ``dropped.tsv`` lists (utt, rule, detail), with those that formatting dropped. Returns counts by
    rule and ``kept``. Raises InputError if ``src_dir`` is faulty or nothing would be left.
    """
    src = Path(src_dir)
    if not 0 <= min_wav_duration < max_wav_duration:
        raise InputError(
            f"filter: got min_wav_duration={min_wav_duration:g}, max_wav_duration={max_wav_duration:g}; "
            "expected 0 <= min < max, in seconds. Change the options."
        )
    data = read_data_dir(src, allow_empty_text=True)
    samples = _read_samples(src, data.wav)
    rules = {
        utt: rule_for(
            samples[utt],
            data.text[utt],
            fs=fs,
            min_wav_duration=min_wav_duration,
            max_wav_duration=max_wav_duration,
            tokenize=tokenize,
            hop=hop,
            receptive_field=receptive_field,
        )
        for utt in sorted(data.wav)
    }
    kept = [utt for utt, rule in rules.items() if rule is None]
    counts = Counter(rule[0] for rule in rules.values() if rule)
    if not kept:
        raise InputError(f"{src}: no utterance is left of {len(rules)} ({dict(counts)}). Loosen the limits.")
    with replacing_dir(Path(dst_dir)) as temporary:
        write_tables(temporary, data.subset(kept))
        write_table(temporary / "utt2num_samples", {utt: samples[utt] for utt in kept})
        (temporary / "feats_type").write_text("raw\n")
        dropped = [(utt, *rule) for utt, rule in rules.items() if rule]
        write_dropped(temporary, _dropped_before(src) + dropped)
    return counts + Counter(kept=len(kept))


def _read_samples(src: Path, wav: dict[str, str]) -> dict[str, int]:
    problems: list[str] = []
    table = read_table(src / "utt2num_samples", problems)
    problems += [f"utt2num_samples: no count for {u!r}" for u in wav if not table.get(u, "").isdigit()]
    raise_problems(problems, str(src), "Expected a formatted directory: run stage 3 (format) again.")
    return {utt: int(table[utt]) for utt in wav}


def _dropped_before(src: Path) -> list[tuple[str, str, str]]:
    path = src / "dropped.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    return [(utt, rule, detail) for utt, rule, detail in (line.split("\t", 2) for line in lines)]
