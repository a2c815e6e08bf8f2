"""Which service is speaking: an intent task on the prompts of all languages together.

The intent of a prompt is the family of its key: the folder of ``digits/1``, or the first part of ``vm-goodbye``. The nine
largest families over five languages are intents, all others together a tenth. Intents are written in capitals, so that no
word of a transcript equals one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_s3router.data.data_dir import DataDir, read_data_dir, write_data_dir
from local.asterisk.split import PARTS

FAMILIES = {
    "vm-": "VM",
    "digits/": "DIGITS",
    "conf-": "CONF",
    "confbridge-": "CONF",
    "letters/": "LETTERS",
    "phonetic/": "PHONETIC",
    "spy-": "SPY",
    "dir-": "DIR",
    "queue-": "QUEUE",
    "dictate/": "DICTATE",
}
"""Beginning of a key -> its intent."""
OTHER = "OTHER"


def family(key: str) -> str:
    """``VM`` for ``vm-goodbye``; ``OTHER`` for keys of small families."""
    return next((intent for beginning, intent in FAMILIES.items() if key.startswith(beginning)), OTHER)


def prepare_families(langs: Sequence[str], data_dir: Path) -> dict[str, tuple[int, Mapping[str, int]]]:
    """Write ``data_dir/{train,dev,test}_families`` from the datasets of the languages in ``data_dir``.

    A text is the intent and the transcript. In dev and test, ``utt_unseen`` lists the utterances whose transcript does not
    occur in training. ``LICENCE`` joins the texts of the licences. Returns utterances and counts of the intents.
    """
    counts, seen = {}, set[str]()
    for part in PARTS:
        pooled, notices = DataDir({}, {}, {}), dict[str, None]()
        for lang in langs:
            data = read_data_dir(folder := data_dir / f"{part}_{lang}")
            pooled.wav.update(data.wav)
            pooled.utt2spk.update(data.utt2spk)
            pooled.text.update({utt: f"{family(key_of(utt))} {text}" for utt, text in data.text.items()})
            if (notice := folder / "LICENCE").is_file():
                notices[notice.read_text("utf-8")] = None
        transcripts = {utt: text.partition(" ")[2] for utt, text in pooled.text.items()}
        if part == "train":
            seen = set(transcripts.values())
        else:
            pooled.extras["utt_unseen"] = {utt: "" for utt, text in transcripts.items() if text not in seen}
        write_data_dir(path := data_dir / f"{part}_families", pooled)
        (path / "LICENCE").write_text("\n".join(notices), encoding="utf-8")
        intents = [text.split()[0] for text in pooled.text.values()]
        counts[path.name] = (len(intents), {intent: intents.count(intent) for intent in sorted(set(intents))})
    return counts


def key_of(utt: str) -> str:
    """The key of an utterance: ``digits/1`` for ``en-digits__1``."""
    return utt.partition("-")[2].replace("__", "/")
