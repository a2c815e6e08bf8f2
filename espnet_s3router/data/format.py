"""Stage 3: convert every recording to 16 bit mono audio of one rate, one file per utterance.

    python -m espnet_s3router.data format data/SET dump/raw/org/SET --fs 16000 --nj 4

The result grows in a hidden directory and is renamed when it is complete. After an interruption, the next run
keeps the files that are finished.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from espnet_s3router.data.audio import change_speed, load_mono, resample, write_pcm16
from espnet_s3router.data.data_dir import DataDir, read_data_dir
from espnet_s3router.data.decode import BadAudio
from espnet_s3router.data.formatted import write_formatted, write_tsv
from espnet_s3router.errors import InputError, raise_problems
from espnet_s3router.files import TEMPORARY_BYTES, locked, put_in_place
from espnet_s3router.text_files import read_lines

FORMATS = ("flac", "wav")
DONE = ".done"
DROP_ALWAYS = frozenset({"silent"})  # silence is not a faulty file: it is dropped even with on_bad="error"


@dataclass(frozen=True)
class Job:
    """One utterance to format. Equal jobs give equal audio."""

    utt: str
    source: str
    size: int
    mtime_ns: int
    speed: float
    fs: int
    audio_format: str

    def key(self) -> str:
        """A digest of all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def file(self) -> str:
        """Name of the audio file that is written."""
        return f"{self.utt}.{self.audio_format}"


@dataclass(frozen=True)
class Result:
    """The result of a job: the number of ``samples`` written, or the ``rule`` that dropped the utterance."""

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

    Recordings of another rate are resampled, several channels are averaged, ``utt2speed`` is applied. Returns
    the counts of these notices and of the utterances that each rule dropped; ``dropped.tsv`` lists them.
    Raises InputError for a faulty ``src_dir``. Without ``on_bad="drop"`` it also raises InputError for audio that
    is missing, empty, truncated, unreadable or not finite, and leaves ``dst_dir`` unchanged.
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
    _check_names(jobs, dst)
    fingerprint = _fingerprint(jobs, data, on_bad)
    with locked(dst):  # two recipes may format the same dataset at the same time
        if (dst / DONE).is_file() and (dst / DONE).read_text() == fingerprint:
            return Counter({"already done": len(jobs)})
        target = dst.resolve()  # dst may be a link to another disk
        partial = target.with_name(f".{target.name}.partial")
        (partial / "audio").mkdir(parents=True, exist_ok=True)
        results = _run_jobs(jobs, partial, nj)
        bad = [f"{r.utt}: {r.rule}: {r.detail}" for r in results if r.rule and r.rule not in DROP_ALWAYS]
        if not dropping:
            raise_problems(bad, str(src_dir), "Mend or leave out these recordings, or pass --on_bad drop.")
        _write_tables(data, jobs, results, partial, dst)
        (partial / DONE).write_text(fingerprint)
        put_in_place(partial, dst)
    counts = Counter(notice.split(":")[0] for r in results for notice in r.notices)  # details of an utterance follow ":"
    return counts + Counter(f"dropped: {r.rule}" for r in results if r.rule)


def _check_names(jobs: list[Job], dst: Path) -> None:
    """Raise InputError for names that the file system cannot take, before any audio is written."""
    existing = next(folder for folder in dst.resolve().parents if folder.is_dir())
    longest = os.pathconf(existing, "PC_NAME_MAX")
    problems = [
        f"utterance id {job.utt[:40]!r}… has {len(os.fsencode(job.utt))} bytes, its audio file would have a name of {size}"
        for job in jobs
        if (size := len(os.fsencode(job.file)) + TEMPORARY_BYTES) > longest
    ]
    raise_problems(problems, str(dst), f"This file system takes names of at most {longest} bytes. Shorten the ids.")


def _job(data: DataDir, utt: str, fs: int, audio_format: str) -> Job:
    source = Path(data.wav[utt])
    stat = source.stat() if os.path.isfile(source) else None
    size, mtime = (stat.st_size, stat.st_mtime_ns) if stat else (-1, -1)
    return Job(utt, str(source), size, mtime, data.speed.get(utt, 1.0), fs, audio_format)


def _fingerprint(jobs: list[Job], data: DataDir, on_bad: str) -> str:
    tables = json.dumps([on_bad, data.text, data.utt2spk, data.extras], sort_keys=True)
    return hashlib.sha256("\n".join([tables, *(job.key() for job in jobs)]).encode()).hexdigest()


def format_utterance(job: Job, audio_dir: Path) -> Result:
    """Write one utterance into ``audio_dir``, or return the rule that drops it."""
    try:
        samples, notices = _write_audio(job, audio_dir)
    except BadAudio as error:
        return Result(job.key(), job.utt, rule=error.rule, detail=error.detail)
    return Result(job.key(), job.utt, samples, notices=tuple(notices))


def _write_audio(job: Job, audio_dir: Path) -> tuple[int, list[str]]:
    """Write one utterance; the number of its samples, and notices. Raises BadAudio."""
    sound = load_mono(job.source)
    samples, notices = sound.samples, list(sound.notices)
    if sound.rate != job.fs:
        notices.append(f"resampled from {sound.rate} to {job.fs} Hz")
        samples = resample(samples, sound.rate, job.fs)
    if job.speed != 1.0:
        samples = change_speed(samples, job.speed)
    if len(samples) == 0:
        raise BadAudio("empty", f"{job.source} is too short to resample")
    if clipped := write_pcm16(audio_dir / job.file, samples, job.fs):
        notices.append(f"clipped to 16 bit: {clipped} samples")
    return len(samples), notices


def _run_jobs(jobs: list[Job], partial: Path, nj: int) -> list[Result]:
    """Run the jobs without a result in ``partial``. Threads are enough: decoding and resampling release Python's lock."""
    journal = partial / "journal.jsonl"
    known = {result.utt: result for result in _read_journal(journal)}  # the last line of an utterance counts
    files = {file.name for file in (partial / "audio").iterdir()}
    finished = {result.key for result in known.values()}
    todo = [job for job in jobs if job.key() not in finished or job.file not in files]
    with ThreadPoolExecutor(max(1, nj)) as pool, journal.open("a", encoding="utf-8") as log:
        results = pool.map(lambda job: format_utterance(job, partial / "audio"), todo)
        try:
            for result in tqdm(results, total=len(todo), desc="format", unit="utt", disable=None):
                known[result.utt] = result
                if not result.rule:  # the next run tries failed utterances again
                    log.write(json.dumps(asdict(result)) + "\n")
                    log.flush()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # otherwise leaving the block waits for all jobs
            raise
    return [known[job.utt] for job in jobs]


def _read_journal(path: Path) -> Iterator[Result]:
    for line in read_lines(path) if path.exists() else ():
        try:
            record = json.loads(line)
            yield Result(**{**record, "notices": tuple(record["notices"])})
        except (ValueError, TypeError, KeyError):
            continue  # an interruption cut this line: its utterance is formatted again


def _write_tables(data: DataDir, jobs: list[Job], results: list[Result], partial: Path, dst: Path) -> None:
    """Write all files of ``dst`` except the audio into ``partial``, and remove audio that no utterance uses."""
    kept = {job.utt: (job.file, result.samples) for job, result in zip(jobs, results) if not result.rule}
    if not kept:
        raise InputError(f"{dst}: none of {len(results)} utterances is usable ({results[0].detail}). Check the corpus.")
    used = {name for name, _ in kept.values()}
    for file in (partial / "audio").iterdir():
        if file.name not in used:
            file.unlink()  # from an interrupted run with other utterances
    rest = data.subset(kept)
    wav = {utt: str(dst / "audio" / name) for utt, (name, _) in kept.items()}
    samples = {utt: count for utt, (_, count) in kept.items()}
    dropped = [(r.utt, r.rule, r.detail) for r in results if r.rule]
    write_formatted(partial, DataDir(wav, rest.text, rest.utt2spk, {}, rest.extras), samples, dropped)
    write_tsv(partial / "notices.tsv", ("utt", "notice"), ((r.utt, notice) for r in results for notice in r.notices))
    (partial / "journal.jsonl").unlink()
