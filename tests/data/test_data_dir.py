"""Data directories in stages 2 to 5: a fault stops a stage before it writes, and everything else is counted."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from espnet_s3router.data import format as formatting
from espnet_s3router.data.__main__ import main
from espnet_s3router.data.data_dir import DataDir, read_data_dir, write_data_dir
from espnet_s3router.data.filter import Rules, ctc_frames, filter_data
from espnet_s3router.data.format import format_data
from espnet_s3router.data.speed import perturb_speed
from espnet_s3router.errors import InputError
from espnet_s3router.text_files import write_table

FS = 16000
TEXTS = {"a-1": "yes", "a-2": "press one", "b-1": "thank you"}


def noise(seconds: float, seed: int = 0, fs: int = FS) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * fs))


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def source(corpus: Path, utt: str = "a-1") -> Path:
    return Path(read_data_dir(corpus, check_audio=False).wav[utt])


def test_import_is_light() -> None:
    heavy = "{'torch', 'espnet2', 'av', 'soundfile', 'soxr'} & set(sys.modules)"
    modules = "espnet_s3router.data.data_dir, espnet_s3router.data.format"
    code = f"import sys, {modules}; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_written_directory_reads_back(corpus: Path) -> None:
    data = read_data_dir(corpus)
    assert data.text == TEXTS
    assert (corpus / "spk2utt").read_text() == "a a-1 a-2\nb b-1\n"
    assert [line.split()[0] for line in (corpus / "wav.scp").read_text().splitlines()] == sorted(TEXTS)


def duplicate(corpus: Path) -> None:
    with (corpus / "text").open("a") as file:
        file.write("a-1 again\n")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "duplicate key": (duplicate, "the key 'a-1' occurs twice"),
    "not UTF-8": (lambda c: (c / "text").write_bytes(b"a-1 caf\xe9\na-2 x\nb-1 y\n"), "line 1: not UTF-8"),
    "empty transcript": (lambda c: edit(c / "text", "a-1 yes", "a-1"), "empty transcript of 'a-1'"),
    "no transcript": (lambda c: edit(c / "text", "a-1 yes\n", ""), "text: nothing for 'a-1'"),
    "no wav.scp entry": (lambda c: edit(c / "text", "b-1", "b-2"), "wav.scp: nothing for 'b-2'"),
    "audio missing": (lambda c: source(c).unlink(), "audio of 'a-1' is missing"),
    "pipe": (lambda c: edit(c / "wav.scp", "a-1.wav", "a-1.wav sox - |"), "'a-1' is a pipe"),
    "spk2utt disagrees": (lambda c: edit(c / "spk2utt", "a a-1 a-2", "a a-1"), "disagree on 'a-2'"),
    "no utt2spk": (lambda c: (c / "utt2spk").unlink(), "utt2spk: cannot be read (No such file or directory)"),
    "empty text": (lambda c: (c / "text").write_text(""), "text: no entries"),
    "slash in id": (lambda c: [edit(c / n, "b-1 ", "b/1 ") for n in ("text",)], "'b/1' holds a slash"),
    "segments": (lambda c: (c / "segments").write_text("a-1 r 0 1\n"), "segments: not supported"),
    "speaker with a space": (
        lambda c: edit(c / "utt2spk", "a-1 a", "a-1 Mary Ann"),
        "speaker 'Mary Ann' of 'a-1' holds a space",
    ),
    "no-break space": (lambda c: edit(c / "text", "press one", "press\u00a0one"), "text line 2: 'a-2' holds U+00A0"),
    "ideographic space": (lambda c: edit(c / "utt2spk", "a-2 ", "a-2\u3000"), "utt2spk line 2: 'a-2\\u3000a' holds U+3000"),
    "file name too long": (lambda c: edit(c / "wav.scp", "a-1.wav", "a" * 300), f"{'a' * 300}: File name too long"),
    "folder as audio": (lambda c: edit(c / "wav.scp", "/a-1.wav", ""), "not a file"),
    "speed": (lambda c: (c / "utt2speed").write_text("a-1 fast\n"), "utt2speed: 'fast'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_directory_is_refused_before_anything_is_written(corpus: Path, name: str) -> None:
    spoil, message = FAULTS[name]
    spoil(corpus)
    with pytest.raises(InputError, match="problem") as caught:
        read_data_dir(corpus)
    assert message in str(caught.value)
    target = corpus.parent / "dump" / "x"
    assert main(["format", str(corpus), str(target)]) == 1
    assert not target.parent.exists()


@pytest.mark.parametrize("utt", ["u" * 240, "é" * 120])
def test_ids_that_are_no_file_names_are_refused_before_anything_is_written(corpus: Path, utt: str) -> None:
    for name in ("wav.scp", "text", "utt2spk"):
        edit(corpus / name, "b-1 ", f"{utt} ")
    (corpus / "spk2utt").unlink()
    with pytest.raises(InputError, match=r"has 240 bytes(?s:.*)takes names of at most 255 bytes. Shorten the ids"):
        format_data(corpus, corpus.parent / "dump")
    assert not (corpus.parent / "dump").exists()


def test_names_that_are_too_long_drop_their_utterance(corpus: Path) -> None:
    edit(corpus / "wav.scp", "a-1.wav", "a" * 300)
    assert format_data(corpus, corpus.parent / "dump", on_bad="drop")["dropped: missing"] == 1


def test_line_separators_in_a_path_stay(corpus: Path) -> None:
    """Python's splitlines() would end a line at U+2028."""
    soundfile.write(corpus.parent / "a\u2028b.wav", np.zeros(FS), FS)
    edit(corpus / "wav.scp", "a-1.wav", "a\u2028b.wav")
    format_data(corpus, corpus.parent / "org")
    assert filter_data(corpus.parent / "org", corpus.parent / "dump", Rules())["kept"] == 2
    assert "a\u2028b.wav" in (corpus.parent / "dump" / "dropped.tsv").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore")  # ESPnet's own import
def test_espnet_reads_a_formatted_directory_as_we_do(corpus: Path) -> None:
    from espnet2.fileio.read_text import read_2columns_text

    (corpus / "text").write_bytes("\ufeffa-1\tyes\r\na-2   press \t one \r\nb-1 thank  you\n".encode())
    format_data(corpus, corpus.parent / "dump")
    read = read_data_dir(corpus.parent / "dump")
    assert read.text == {"a-1": "yes", "a-2": "press one", "b-1": "thank you"}
    for name, table in {"wav.scp": read.wav, "text": read.text, "utt2spk": read.utt2spk}.items():
        assert read_2columns_text(corpus.parent / "dump" / name) == table


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such data directory"):
        read_data_dir(tmp_path / "none")


def test_first_ten_problems_and_the_count(corpus: Path) -> None:
    (corpus / "text").write_text("".join(f"x-{n:02d} word\n" for n in range(30)))
    with pytest.raises(InputError) as caught:
        read_data_dir(corpus)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 10 + 1 + 1
    assert "more" in lines[-2]


def test_format_resamples_and_averages_channels(corpus: Path) -> None:
    soundfile.write(source(corpus, "a-1"), noise(1.0, fs=8000), 8000, subtype="PCM_U8")
    soundfile.write(source(corpus, "a-2"), np.stack([noise(1.0), noise(1.0, 1)], axis=1), FS)
    out = corpus.parent / "dump"
    counts = format_data(corpus, out)
    assert counts["resampled from 8000 to 16000 Hz"] == 1
    assert counts["2 channels averaged to one"] == 1
    data = read_data_dir(out)
    assert {soundfile.info(path).samplerate for path in data.wav.values()} == {FS}
    lengths = dict(line.split() for line in (out / "utt2num_samples").read_text().splitlines())
    assert lengths == {utt: str(soundfile.info(path).frames) for utt, path in data.wav.items()}
    assert int(lengths["a-1"]) == pytest.approx(FS, abs=2)
    assert "8 bit" in (out / "notices.tsv").read_text()


def test_silence_is_dropped_by_rule(corpus: Path) -> None:
    soundfile.write(source(corpus), np.zeros(FS), FS)
    out = corpus.parent / "dump"
    assert format_data(corpus, out)["dropped: silent"] == 1
    assert sorted(read_data_dir(out).wav) == ["a-2", "b-1"]
    assert "a-1\tsilent\t" in (out / "dropped.tsv").read_text()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:9000])


def write_nan(path: Path) -> None:
    soundfile.write(path, np.full(FS, np.nan), FS, subtype="FLOAT")


SPOILT = {"empty": lambda p: p.write_bytes(b""), "truncated": truncate, "not_finite": write_nan}


@pytest.mark.parametrize("rule", SPOILT)
def test_bad_audio_stops_or_is_dropped(corpus: Path, rule: str) -> None:
    SPOILT[rule](source(corpus))
    out = corpus.parent / "dump"
    with pytest.raises(InputError, match=f"a-1: {rule}"):
        format_data(corpus, out)
    assert not out.exists()
    assert format_data(corpus, out, on_bad="drop")[f"dropped: {rule}"] == 1
    assert sorted(read_data_dir(out).wav) == ["a-2", "b-1"]
    with pytest.raises(InputError, match=f"a-1: {rule}"):  # a result with dropped utterances does not count as complete
        format_data(corpus, out)


def test_nothing_usable_is_an_error(corpus: Path) -> None:
    for utt in TEXTS:
        soundfile.write(source(corpus, utt), np.zeros(FS), FS)
    with pytest.raises(InputError, match="none of 3"):
        format_data(corpus, corpus.parent / "dump")
    assert not (corpus.parent / "dump").exists()


@pytest.mark.parametrize("option", [{"fs": 0}, {"audio_format": "ark"}, {"on_bad": "ignore"}])
def test_format_refuses_unknown_options(corpus: Path, option: dict) -> None:
    with pytest.raises(InputError, match="expected"):
        format_data(corpus, corpus.parent / "dump", **option)


def test_format_resumes_and_reuses(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = formatting.format_utterance, []

    def counted(job: formatting.Job, audio_dir: Path) -> formatting.Result:
        if job.utt == "b-1" and not made_before:
            raise KeyboardInterrupt
        made.append(job.utt)
        return real(job, audio_dir)

    made_before: list[str] = []
    monkeypatch.setattr(formatting, "format_utterance", counted)
    out = corpus.parent / "dump"
    with pytest.raises(KeyboardInterrupt):
        format_data(corpus, out, nj=1)
    assert not out.exists()
    made_before, made[:] = made[:], []
    format_data(corpus, out, nj=1)
    assert sorted(made_before) == ["a-1", "a-2"]
    assert made == ["b-1"]
    assert format_data(corpus, out) == {"already done": 3}
    soundfile.write(source(corpus), noise(0.5), FS)
    format_data(corpus, out, nj=1)
    assert soundfile.info(out / "audio" / "a-1.flac").frames == FS // 2


def test_two_processes_format_a_dataset_once(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two recipes may start together on the same dataset: the second one uses the result of the first one."""
    made: list[str] = []
    real = formatting.format_utterance

    def slow(job: formatting.Job, audio_dir: Path) -> formatting.Result:
        made.append(job.utt)
        time.sleep(0.05)
        return real(job, audio_dir)

    monkeypatch.setattr(formatting, "format_utterance", slow)
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(format_data, corpus, corpus.parent / "dump", nj=1) for _ in range(2)]
    assert sorted(made) == ["a-1", "a-2", "b-1"]
    assert sum("already done" in counts.result() for counts in done) == 1


def test_a_link_to_another_disk_stays(corpus: Path) -> None:
    disk, dump = corpus.parent / "disk", corpus.parent / "dump"
    for folder in (disk / "train", dump):
        folder.mkdir(parents=True)
    (disk / "train" / "old").touch()
    (dump / "train").symlink_to(disk / "train")
    format_data(corpus, dump / "train")
    assert (dump / "train").is_symlink()
    assert sorted(p.name for p in disk.iterdir()) == ["train"]
    assert not (disk / "train" / "old").exists()
    assert read_data_dir(dump / "train").wav["a-1"] == str(dump / "train" / "audio" / "a-1.flac")
    assert format_data(corpus, dump / "train") == {"already done": 3}


def test_speed_perturbation_makes_audio(corpus: Path) -> None:
    write_table(corpus / "utt_unseen", {"a-1": ""})
    out = corpus.parent / "data_sp"
    assert perturb_speed(corpus, out, factors=(0.9, 1.0, 1.1)) == 9
    format_data(out, corpus.parent / "dump", audio_format="wav")
    data = read_data_dir(corpus.parent / "dump")
    assert data.text["sp1.1-a-2"] == "press one"
    assert data.utt2spk["sp0.9-b-1"] == "sp0.9-b"
    assert sorted(data.extras["utt_unseen"]) == ["a-1", "sp0.9-a-1", "sp1.1-a-1"]
    assert soundfile.info(data.wav["sp0.9-a-1"]).frames == pytest.approx(FS / 0.9, abs=2)
    assert soundfile.info(data.wav["a-1"]).frames == FS
    with pytest.raises(InputError, match="already perturbed"):
        perturb_speed(out, corpus.parent / "again")


@pytest.mark.parametrize("factors", [(), (1.0, 1.0), (0.0,), (-1.0,), (20.0,), (float("nan"),)])
def test_speed_factors_out_of_range(corpus: Path, factors: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="factors"):
        perturb_speed(corpus, corpus.parent / "x", factors=factors)


@given(st.integers(0, 10**7))
def test_encoder_frames_agree_with_the_cnn(samples: int) -> None:
    frames = samples
    for kernel, stride in [(10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2]:
        frames = max(0, (frames - kernel) // stride + 1)
    assert Rules().encoder_frames(samples) == frames


@given(st.text("ab ", max_size=30))
def test_ctc_frames_count_repeats(text: str) -> None:
    assert ctc_frames(list(text)) == len(text) + sum(x == y for x, y in pairwise(text))


@pytest.mark.parametrize(
    ("samples", "text", "rule"),
    [
        (FS, " ", "no_text"),
        (399, "a", "under_a_frame"),
        (400, "a", "too_short"),
        (FS * 21, "a", "too_long"),
        (FS // 2, "a" * 14, "over_tokens"),  # 24 frames, 27 needed
        (FS // 2, "ab" * 12, None),  # 24 of 24
        (FS // 2, "ab" * 12 + "a", "over_tokens"),
    ],
)
def test_rules(samples: int, text: str, rule: str | None) -> None:
    broken = Rules(fs=FS, min_wav_duration=0.1, max_wav_duration=20).broken(samples, text)
    assert (broken[0] if broken else None) == rule


def test_filter_lists_what_it_dropped(corpus: Path) -> None:
    soundfile.write(source(corpus, "a-1"), np.zeros(FS), FS)
    soundfile.write(source(corpus, "a-2"), noise(0.05), FS)
    org, out = corpus.parent / "org", corpus.parent / "dump"
    format_data(corpus, org)
    assert filter_data(org, out, Rules()) == {"kept": 1, "too_short": 1}
    rows = [line.split("\t")[:2] for line in (out / "dropped.tsv").read_text().splitlines()]
    assert rows == [["utt", "rule"], ["a-1", "silent"], ["a-2", "too_short"]]
    assert (out / "utt2num_samples").read_text() == f"b-1 {FS}\n"
    with pytest.raises(InputError, match="no utterance is left"):
        filter_data(org, corpus.parent / "none", Rules(min_wav_duration=5))
    with pytest.raises(InputError, match="expected 0 <= min < max"):
        Rules(min_wav_duration=5, max_wav_duration=1)
    with pytest.raises(InputError, match="stage 3"):
        filter_data(corpus, corpus.parent / "none", Rules())
    assert not (corpus.parent / "none").exists()


def test_the_filter_takes_other_transcripts(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that a cleaner made: the rule of CTC counts their tokens, and they are the text of the filtered dataset."""
    org, out = corpus.parent / "org", corpus.parent / "dump"
    format_data(corpus, org)
    write_table(org / "text.cleaned", {"a-1": "YES", "a-2": 200 * "A", "b-1": "THANK YOU"})
    command = ["filter", str(org), str(out), "--text", "text.cleaned"]
    assert main(command) == 0
    assert (out / "text").read_text() == "a-1 YES\nb-1 THANK YOU\n"
    write_table(org / "text.cleaned", {"a-1": "YES"})
    assert main(command) == 1
    assert "text.cleaned: nothing for 'a-2'" in capsys.readouterr().err


def test_empty_text_is_dropped_with_on_bad_drop(corpus: Path) -> None:
    edit(corpus / "text", "a-1 yes", "a-1")
    format_data(corpus, corpus.parent / "org", on_bad="drop")
    assert filter_data(corpus.parent / "org", corpus.parent / "dump", Rules())["no_text"] == 1


def test_command_line_end_to_end(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = corpus.parent
    assert main(["validate", str(corpus)]) == 0
    assert main(["format", str(corpus), str(root / "org"), "--fs", "16k"]) == 0
    assert main(["filter", str(root / "org"), str(root / "dump")]) == 0
    write_data_dir(root / "dev", DataDir({"d-1": "x.wav"}, {"d-1": "déjà"}, {"d-1": "d"}))
    assert main(["tokens", str(root / "dump"), str(root / "t.txt"), "--check", str(root / "dev")]) == 0
    out = capsys.readouterr().out
    assert "kept 3" in out
    assert "notice" in out
    assert "'é' (U+00E9) 1x" in out
