"""Tiny releases of Common Voice in exactly the layouts of 5.1, 17 and 25: folders, tables, columns, MP3 files."""

import hashlib
from pathlib import Path

import numpy as np
import soundfile

V5, V17, V25 = "cv-corpus-5.1-2020-06-22", "cv-corpus-17.0-2024-03-15", "cv-corpus-25.0-2026-03-09"
V5_COLUMNS = ["client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent", "locale", "segment"]
V17_COLUMNS = ["client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes"]
V17_COLUMNS += ["age", "gender", "accents", "variant", "locale", "segment"]
COLUMNS = {V5: V5_COLUMNS, V17: V17_COLUMNS, V25: V17_COLUMNS}
RATE = {V5: 48000, V17: 32000, V25: 32000}
SIZES = {"train": 6, "dev": 2, "test": 2, "other": 1, "invalidated": 1}
SENTENCES = {
    "es": ["¡Hola, amigo! ", "El niño come pan.", "«Buenas noches», dijo Ana.", "¿Qué hora es?", "Vive en Perú."],
    "fr": ["L'été, c'est fini !", "Une sœur aînée.", "Ça va ?", "Où est-il ?", "J’ai 2 chats."],
    "zh-TW": ["你好，世界。", "我 喜歡 KTV！", "今天天氣很好", "謝謝", "他說：「走吧」"],
}


def hexadecimal(text: str, digits: int = 128) -> str:
    """Digits that stand for an identifier of Mozilla's."""
    return hashlib.sha512(text.encode()).hexdigest()[:digits]


def write_language(root: Path, lang: str, release: str = V17, sizes: dict[str, int] = SIZES) -> Path:
    """``root/RELEASE/LANG`` with all its tables and clips; every clip has a speaker of its own. Returns ``root/RELEASE``."""
    folder, rng, number = root / release / lang, np.random.default_rng(0), 100
    (folder / "clips").mkdir(parents=True)
    rows: dict[str, list[dict[str, str]]] = {}
    durations = {}
    for table, size in sizes.items():
        for _ in range(size):
            number += 1
            sentence = SENTENCES.get(lang, SENTENCES["es"])[number % 5]
            name = f"common_voice_{lang}_{number}.mp3"
            durations[name] = write_clip(folder / "clips" / name, RATE[release], rng)
            rows.setdefault(table, []).append(
                {
                    **{"client_id": hexadecimal(f"speaker {number}"), "path": name, "sentence": sentence, "locale": lang},
                    **{"sentence_id": hexadecimal(sentence, 64), "up_votes": "2", "down_votes": "0"},
                }
            )
    rows["validated"] = [row for table in ("train", "dev", "test") for row in rows.get(table, [])]
    for table, lines in rows.items():
        write_table(folder / f"{table}.tsv", COLUMNS[release], lines)
    write_table(folder / "reported.tsv", ["sentence", "sentence_id", "locale", "reason"], [])
    if release != V5:
        header = ["clip", "duration[ms]"]
        times = [{"clip": name, "duration[ms]": str(round(1000 * seconds))} for name, seconds in durations.items()]
        write_table(folder / "clip_durations.tsv", header, times)
        variant = ["variant"] if release == V25 else []
        further = ["sentence_id", "sentence", *variant, "sentence_domain", "source"]
        write_table(folder / "validated_sentences.tsv", [*further, "is_used", "clips_count"], [])
        votes = ["up_votes", "down_votes", "status"] if release == V25 else []
        write_table(folder / "unvalidated_sentences.tsv", [*further, *votes], [])
    if release == V25:
        (folder / "README.md").write_text("# A datasheet\n", encoding="utf-8")
    return root / release


def write_clip(path: Path, rate: int, rng: np.random.Generator) -> float:
    """A tone with noise. Returns its seconds."""
    seconds = 0.9 + 0.2 * rng.random()
    times = np.arange(int(rate * seconds)) / rate
    tone = 0.3 * np.sin(2 * np.pi * (200 + 400 * rng.random()) * times) * (1 + 0.1 * rng.standard_normal(len(times)))
    soundfile.write(path, tone, rate, format="MP3")
    return len(times) / rate


def write_table(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    """A table without quoting; columns without a value are empty."""
    lines = ["\t".join(row.get(column, "") for column in columns) for row in rows]
    path.write_text("".join(f"{line}\n" for line in ["\t".join(columns), *lines]), encoding="utf-8")


def edit(path: Path, old: str, new: str, count: int = -1) -> None:
    """Replace a part of a table."""
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")
