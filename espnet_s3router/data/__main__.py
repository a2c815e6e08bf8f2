"""The command line for data directories: ``python -m espnet_s3router.data COMMAND``.

The commands: collect, validate, pool, tasks, speed, format, intents, filter, tokens.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from espnet_s3router.data import tokens
from espnet_s3router.data.collect import collect
from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.data.filter import Rules, filter_data
from espnet_s3router.data.format import format_data
from espnet_s3router.data.intents import collect_intents
from espnet_s3router.data.pool import pool
from espnet_s3router.data.speed import perturb_speed
from espnet_s3router.data.tasks import TASKS, split_tasks
from espnet_s3router.errors import InputError, exit_status


def hertz(text: str) -> int:
    """A rate in Hz from ``16000`` or from ESPnet's notation ``16k``."""
    return int(float(text[:-1]) * 1000) if text.endswith("k") else int(text)


def _print_counts(where: str, counts: Mapping[str, int]) -> None:
    listed = ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
    print(f"{where}: {listed or 'nothing to report'}")


def _validate(dirs: Sequence[str], on_bad: str) -> None:
    dropping = on_bad == "drop"
    for path in dict.fromkeys(dirs):
        data = read_data_dir(path, check_audio=not dropping, allow_empty_text=dropping)
        speakers = set(data.utt2spk.values())
        print(f"{path}: {len(data.wav)} utterances of {len(speakers)} speakers, no problems")


def _collect(src: str, dst: str, dev: float, test: float) -> None:
    _print_counts(dst, collect(src, dst, dev=dev, test=test))


def _pool(dst: str, sources: Sequence[str]) -> None:
    pairs = [source.partition("=")[::2] for source in sources]
    if not all(language and path for language, path in pairs) or len(dict(pairs)) < len(pairs):
        raise InputError(f"the sources are {' '.join(sources)}, expected LANGUAGE=DIR once for each language")
    _print_counts(dst, pool(dict(pairs), dst))


def _tasks(src: str, dst: str, tasks: Sequence[str]) -> None:
    _print_counts(dst, split_tasks(src, dst, tasks))


def _speed(src: str, dst: str, factors: Sequence[float]) -> None:
    print(f"{dst}: {perturb_speed(src, dst, factors=factors)} utterances")


def _format(src: str, dst: str, **options) -> None:
    _print_counts(dst, format_data(src, dst, **options))


def _intents(src: str, dst: str, check: Sequence[str], nlsyms_txt: str | None, **options) -> None:
    print(f"{dst}: {len(collect_intents(src, dst, others=check, nlsyms=nlsyms_txt, **options))} intents")


def _filter(src: str, dst: str, text: str, token_type: str, bpemodel: str | None, nlsyms_txt: str | None, **rules) -> None:
    tokenize = None if token_type == "none" else tokens.tokenizer(token_type, bpemodel=bpemodel, nlsyms=nlsyms_txt)
    _print_counts(dst, filter_data(src, dst, Rules(**rules, tokenize=tokenize), text))


def _tokens(src: str, dst: str, check: Sequence[str], token_type: str, nlsyms_txt: str | None, **options) -> None:
    made = tokens.make_token_list(src, dst, token_type=token_type, nlsyms=nlsyms_txt, **options)
    print(f"{dst}: {len(made)} tokens")
    model = Path(dst).with_name(tokens.BPE_MODEL) if token_type == "bpe" else None
    tokenize = tokens.tokenizer(token_type, bpemodel=model, nlsyms=nlsyms_txt)
    for path in check:
        unknown = tokens.outside(made, tokens.read_texts(path), tokenize)
        if unknown:
            print(f"notice: {path} has {unknown.total()} tokens outside the list: {tokens.describe(unknown)}")


def build_parser() -> argparse.ArgumentParser:
    """The parser with one subcommand per stage."""
    parser = argparse.ArgumentParser(prog="python -m espnet_s3router.data")
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Callable[..., None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    check = command("validate", _validate, "check data directories and list every problem")
    check.add_argument("dirs", nargs="+", help="data directories")

    gather = command("collect", _collect, "data directories train, dev and test of a folder of recordings with texts")
    gather.add_argument("src", help="folder of recordings, each with a .txt file of the same name")
    gather.add_argument("dst", help="folder to write train, dev and test into")
    gather.add_argument("--dev", type=float, default=0.1, help="share of the utterances for dev")
    gather.add_argument("--test", type=float, default=0.1, help="share of the utterances for test")

    join = command("pool", _pool, "data directories of several languages as one, with utt2category")
    join.add_argument("dst", help="data directory to write")
    join.add_argument("sources", nargs="+", metavar="LANGUAGE=DIR", help="data directory of each language")

    split = command("tasks", _tasks, "recordings with an intent and a transcript as two tasks, with utt2category")
    split.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="tasks to write")
    speed = command("speed", _speed, "stage 2: a data directory with copies at other speeds")
    form = command("format", _format, "stage 3: convert every recording to 16 bit mono audio of one rate")
    intent = command("intents", _intents, "stage 4 of the task slu: collect the intents, which no token splits")
    intent.add_argument("--alone", action="store_true", help="write text.intent beside each text: the intent alone")
    intent.add_argument("--category", default="", help="utterances of this category in utt2category alone have intents")
    drop = command("filter", _filter, "stage 4: drop utterances that cannot be trained on")
    token = command("tokens", _tokens, "stage 5: make the token list")
    for sub in (split, speed, form, intent, drop, token):
        sub.add_argument("src", help="data directory to read")
        written = {token: "token list", intent: "list of symbols"}.get(sub, "data directory")
        sub.add_argument("dst", help=f"{written} to write")
    for sub in (form, drop):
        sub.add_argument("--fs", type=hertz, default=16000, help="sampling rate in Hz, also written as 16k")
    for sub in (intent, drop, token):
        sub.add_argument("--nlsyms_txt", help="file of symbols that are not split into characters, one per line")
    speed.add_argument("--factors", type=float, nargs="+", default=[0.9, 1.0, 1.1], help="speed factors")
    form.add_argument("--audio_format", choices=("flac", "wav"), default="flac")
    form.add_argument("--nj", type=int, default=2, help="threads")
    for sub in (check, form):
        sub.add_argument("--on_bad", choices=("error", "drop"), default="error", help="what to do with faulty recordings")
    drop.add_argument("--min_wav_duration", type=float, default=Rules.min_wav_duration, help="seconds")
    drop.add_argument("--max_wav_duration", type=float, default=Rules.max_wav_duration, help="seconds")
    drop.add_argument("--hop", type=int, default=Rules.hop, help="samples between the starts of two encoder frames")
    drop.add_argument("--receptive_field", type=int, default=Rules.receptive_field, help="samples in one encoder frame")
    drop.add_argument("--token_type", choices=("char", "bpe", "word", "none"), default="char")
    drop.add_argument("--text", default="", help="table with transcripts that replace those of the table text")
    drop.add_argument("--bpemodel", help="sentencepiece model, needed with --token_type bpe")
    token.add_argument("--token_type", choices=("char", "bpe", "word"), default="char")
    token.add_argument("--nbpe", type=int, default=30, help="pieces that sentencepiece learns")
    token.add_argument("--bpemode", choices=("unigram", "bpe"), default="unigram")
    for sub, unknown in ((intent, "intents"), (token, "tokens")):
        sub.add_argument("--check", nargs="*", default=[], help=f"data directories to count unknown {unknown} in")
    return parser


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    options = vars(build_parser().parse_args(argv))
    options.pop("run")(**options)


if __name__ == "__main__":
    raise SystemExit(main())
