"""Datasets of one language: decoded audio, texts, the parts of the split and licence texts."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_s3router.data.audio import load_mono, write_pcm16
from espnet_s3router.data.data_dir import DataDir, write_data_dir
from espnet_s3router.errors import InputError
from local.asterisk.download import VOICES, Source, download, find_source
from local.asterisk.split import SPLITS, checked_lists
from local.asterisk.texts import NOT_SPEECH, read_texts
from local.hash_order import first_minutes
from local.text import NORMALISERS

FS = 16000  # Hz, the rate of G.722
MIN_SECONDS = 0.3  # shorter recordings belong to no part of the split
LICENCE_FILES = ("copyright", "README.Debian", "LICENSE*", "CREDITS*", "license*", "credits*")


def utterance_id(lang: str, key: str) -> str:
    """``digits/1`` of en -> ``en-digits__1``."""
    return f"{lang}-{key.replace('/', '__')}"


def decode_g722(source: Path, target: Path) -> int:
    """Write ``source`` as 16 kHz mono 16 bit FLAC, unless ``target`` exists. Returns the number of samples."""
    import soundfile

    if target.is_file():
        return soundfile.info(target).frames
    samples = load_mono(source).samples  # (frames,)
    write_pcm16(target, samples, FS)
    return len(samples)


def copy_licences(source: Source, target: Path) -> None:
    """Copy the licence and credit texts of the texts and the sounds into the folder ``target``."""
    texts = source.text_list.parent
    target.mkdir(parents=True, exist_ok=True)
    for folder in (texts, texts.with_name(f"{texts.name}-g722"), source.sounds):
        for path in (path for pattern in LICENCE_FILES for path in folder.glob(pattern)):
            shutil.copyfile(path, target / f"{folder.name}.{path.name}")


def prepare(
    lang: str,
    *,
    data_dir: Path,
    download_dir: Path,
    sounds_dir: Path | None = None,
    minutes: float = 10,
    splits: Path = SPLITS,
) -> dict[str, tuple[int, float]]:
    """Write ``data_dir/{train,train_<minutes>min,dev,test}_LANG``. Returns the utterances and seconds of each dataset.

    In dev and test, ``utt_unseen`` lists the utterances whose text does not occur in the training set of ``minutes``.
    ``LICENCE`` in each dataset holds the licence texts of its recordings. Decoded audio goes to ``download_dir/LANG_flac``.
    Raises InputError when files cannot be downloaded, have another version or contradict the committed lists.
    """
    if lang not in VOICES or minutes <= 0:
        raise InputError(f"got lang {lang!r}, minutes {minutes}; expected one of {sorted(VOICES)} and more than 0.")
    root = sounds_dir or download(lang, download_dir)
    source = find_source(root, lang)
    listed = read_texts(source.text_list, lang)
    keys = [key for key in listed if source.seconds(key) >= MIN_SECONDS]
    try:
        lists = checked_lists(lang, keys, splits)
    except InputError as error:
        hint = "" if sounds_dir else f" What was downloaded is in {root}: remove it to download again."
        raise InputError(f"{error}{hint}") from error
    texts = {key: NORMALISERS[lang](listed[key]) for key in keys if key not in NOT_SPEECH}
    texts = {key: text for key, text in texts.items() if text}
    audio = download_dir / f"{lang}_flac"
    copy_licences(source, audio / "LICENCES")
    seconds = {key: decode_g722(source.sounds / f"{key}.g722", audio / f"{key}.flac") / FS for key in sorted(texts)}
    parts = {f"{part}_{lang}": [key for key in part_keys if key in texts] for part, part_keys in lists.items()}
    short = f"train_{minutes:g}min_{lang}"
    parts[short] = first_minutes(lang, parts[f"train_{lang}"], minutes, seconds.__getitem__)
    seen = {texts[key] for key in parts[short]}
    for name, part in parts.items():
        unseen = [key for key in part if texts[key] not in seen] if not name.startswith("train") else None
        _write_dataset(data_dir / name, lang, audio, {key: texts[key] for key in part}, unseen)
    return {name: (len(part), sum(seconds[key] for key in part)) for name, part in parts.items()}


def _write_dataset(path: Path, lang: str, audio: Path, texts: Mapping[str, str], unseen: Sequence[str] | None) -> None:
    ids = {key: utterance_id(lang, key) for key in texts}
    wav = {ids[key]: str(audio / f"{key}.flac") for key in texts}
    extras = {} if unseen is None else {"utt_unseen": {ids[key]: "" for key in unseen}}
    text = {ids[key]: value for key, value in texts.items()}
    write_data_dir(path, DataDir(wav, text, dict.fromkeys(wav, lang), {}, extras))
    files = sorted((audio / "LICENCES").iterdir())
    if notices := dict.fromkeys(file.read_text("utf-8") for file in files):  # equal texts only once
        (path / "LICENCE").write_text("\n".join(notices), encoding="utf-8")
