"""Stage 3: every recording as 16 bit mono audio of one rate, one file an utterance.

    python -m espnet_s3router.data format data/SET dump/raw/org/SET --fs 16000 --nj 4

The work grows in a hidden directory beside the result and is renamed when whole, so that an
interrupted run leaves nothing that looks finished, and the next run keeps the files already made.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_s3router.data.audio import BadAudio, change_speed, load_mono, resample, write_pcm16
from espnet_s3router.data.data_dir import DataDir, read_data_dir, write_tables
from espnet_s3router.data.tables import raise_problems, write_table
from espnet_s3router.errors import InputError
from espnet_s3router.files import locked, put_in_place

FORMATS = ("flac", "wav")
DONE = ".done"
DROP_ALWAYS = frozenset({"silent"})  # nothing to hear is not a mistake in the files: dropped by rule


@dataclass(frozen=True)
class Job:
    """One utterance to format; two equal jobs give equal audio."""

    utt: str
    source: str
    size: int
    mtime_ns: int
    speed: float
    fs: int
    audio_format: str

    def key(self) -> str:
        """A digest of all that the result depends on."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Made:
    """What became of a job: ``samples`` written, or the ``rule`` that kept it out."""

    key: str
    utt: str
    samples: int = 0
    rule: str = ""
    detail: str = ""
    notices: tuple[str, ...] = ()


def format_data(
    src_dir: Path | str,
    dst_dir: Path | str,
    *,
    fs: int = 16000,
    audio_format: str = "flac",
    nj: int = 2,
    on_bad: str = "error",
) -> Counter[str]:
    """Write ``dst_dir`` (audio/, wav.scp, utt2num_samples, text, …) from the data directory ``src_dir``.

    Recordings of another rate are resampled, several channels averaged, ``utt2speed`` applied; each
    such notice is counted. Returns the counts of notices and of utterances dropped by rule, which
    ``dropped.tsv`` lists. Raises InputError for a faulty ``src_dir`` and, unless ``on_bad="drop"``,
    for audio that is missing, empty, truncated, unreadable or holds NaN; ``dst_dir`` is then as before.
    """
    if audio_format not in FORMATS or on_bad not in ("error", "drop") or not 4000 <= fs <= 192000:
        raise InputError(
            f"format: got audio_format={audio_format}, on_bad={on_bad}, fs={fs}; expected one of {FORMATS}, "
            "error or drop, and a rate between 4000 and 192000 Hz. Change the option."
        )
    dropping = on_bad == "drop"
    dst = Path(dst_dir)
    data = read_data_dir(src_dir, check_audio=not dropping, allow_empty_text=dropping)
    jobs = [_job(data, utt, fs, audio_format) for utt in sorted(data.wav)]
    digest = _digest(jobs, data, on_bad)
    with locked(dst):  # two grids of a recipe may begin at a time
        if (dst / DONE).is_file() and (dst / DONE).read_text() == digest:
            return Counter({"already done": len(jobs)})
        partial = dst.parent / f".{dst.name}.partial"
        (partial / "audio").mkdir(parents=True, exist_ok=True)
        made = _make_all(jobs, partial, nj)
        bad = [f"{m.utt}: {m.rule}: {m.detail}" for m in made if m.rule and m.rule not in DROP_ALWAYS]
        if not dropping:
            raise_problems(bad, str(src_dir), "Mend or leave out these recordings, or pass --on_bad drop.")
        _write_result(data, made, partial, dst, audio_format)
        (partial / DONE).write_text(digest)
        put_in_place(partial, dst)
    counts = Counter(_kind(n) for m in made for n in m.notices)
    return counts + Counter(f"dropped: {m.rule}" for m in made if m.rule)


def _job(data: DataDir, utt: str, fs: int, audio_format: str) -> Job:
    source = Path(data.wav[utt])
    stat = source.stat() if source.is_file() else None
    size, mtime = (stat.st_size, stat.st_mtime_ns) if stat else (-1, -1)
    return Job(utt, str(source), size, mtime, data.speed.get(utt, 1.0), fs, audio_format)


def _digest(jobs: list[Job], data: DataDir, on_bad: str) -> str:
    tables = json.dumps([on_bad, data.text, data.utt2spk, data.extras], sort_keys=True)
    return hashlib.sha256("\n".join([tables, *(job.key() for job in jobs)]).encode()).hexdigest()


def _kind(notice: str) -> str:
    """The notice without its numbers of one utterance, to be counted."""
    return notice.split(":")[0]


def make(job: Job, audio_dir: Path) -> Made:
    """Format one utterance into ``audio_dir``; what is wrong with it comes back as its rule."""
    try:
        sound = load_mono(job.source)
    except BadAudio as error:
        return Made(job.key(), job.utt, rule=error.rule, detail=error.detail)
    notices = list(sound.notices)
    samples = sound.samples
    if sound.rate != job.fs:
        notices.append(f"resampled from {sound.rate} to {job.fs} Hz")
        samples = resample(samples, sound.rate, job.fs)
    if job.speed != 1.0:
        samples = change_speed(samples, job.speed)
    if len(samples) == 0:
        return Made(job.key(), job.utt, rule="empty", detail=f"{job.source} is too short to resample")
    if clipped := write_pcm16(audio_dir / f"{job.utt}.{job.audio_format}", samples, job.fs):
        notices.append(f"clipped to 16 bit: {clipped} samples")
    return Made(job.key(), job.utt, len(samples), notices=tuple(notices))


def _make_all(jobs: list[Job], partial: Path, nj: int) -> list[Made]:
    """Run the jobs not yet recorded in ``partial``; decoding and resampling release Python's lock."""
    journal = partial / "journal.jsonl"
    known = {m.utt: m for m in _read_journal(journal)}  # the last line of an utterance counts
    files = {file.name for file in (partial / "audio").iterdir()}
    fresh = Made("", "")
    todo = [
        job for job in jobs if known.get(job.utt, fresh).key != job.key() or f"{job.utt}.{job.audio_format}" not in files
    ]
    with ThreadPoolExecutor(max(1, nj)) as pool, journal.open("a", encoding="utf-8") as log:
        results = pool.map(lambda job: make(job, partial / "audio"), todo)
        try:
            for result in tqdm(results, total=len(todo), desc="format", unit="utt", disable=None):
                known[result.utt] = result
                if not result.rule:  # what failed is tried again next time
                    log.write(json.dumps(asdict(result)) + "\n")
                    log.flush()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else leaving the block would wait for all of them
            raise
    return [known[job.utt] for job in jobs]


def _read_journal(path: Path) -> Iterator[Made]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
            yield Made(**{**record, "notices": tuple(record["notices"])})
        except (ValueError, TypeError, KeyError):
            continue  # the line a kill cut in two: that utterance is made again


def _write_result(data: DataDir, made: list[Made], partial: Path, dst: Path, audio_format: str) -> None:
    kept = [m for m in made if not m.rule]
    if not kept:
        raise InputError(f"{dst}: none of {len(made)} utterances is usable ({made[0].detail}). Check the corpus.")
    wanted = {f"{m.utt}.{audio_format}" for m in kept}
    for file in (partial / "audio").iterdir():
        if file.name not in wanted:
            file.unlink()  # left by an earlier, interrupted run over other utterances
    rest = data.subset(m.utt for m in kept)
    wav = {m.utt: str(dst / "audio" / f"{m.utt}.{audio_format}") for m in kept}
    write_tables(partial, DataDir(wav, rest.text, rest.utt2spk, {}, rest.extras))
    write_table(partial / "utt2num_samples", {m.utt: m.samples for m in kept})
    (partial / "feats_type").write_text("raw\n")
    write_dropped(partial, [(m.utt, m.rule, m.detail) for m in made if m.rule])
    notices = [f"{m.utt}\t{notice}\n" for m in made for notice in m.notices]
    (partial / "notices.tsv").write_text("utt\tnotice\n" + "".join(notices), encoding="utf-8")
    (partial / "journal.jsonl").unlink()


def write_dropped(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """Write ``dropped.tsv`` (utt, rule, detail) into the directory ``path``."""
    lines = ["\t".join(row) + "\n" for row in [("utt", "rule", "detail"), *rows]]
    (path / "dropped.tsv").write_text("".join(lines), encoding="utf-8")
