"""The command line over data directories: parse, call one function, print."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_s3router.data.data_dir import read_data_dir
from espnet_s3router.errors import exit_status


def hertz(text: str) -> int:
    """``16000`` or, as ESPnet's recipes write it, ``16k``."""
    return int(float(text[:-1]) * 1000) if text.endswith("k") else int(text)


def _print_counts(where: str, counts: Mapping[str, int]) -> None:
    listed = ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
    print(f"{where}: {listed or 'nothing to report'}")


def _validate(args: argparse.Namespace) -> None:
    for path in args.dirs:
        data = read_data_dir(path)
        speakers = set(data.utt2spk.values())
        print(f"{path}: {len(data.wav)} utterances of {len(speakers)} speakers, no problems")


def _speed(args: argparse.Namespace) -> None:
    from espnet_s3router.data.speed import perturb_speed

    print(f"{args.dst}: {perturb_speed(args.src, args.dst, factors=args.factors)} utterances")


def _format(args: argparse.Namespace) -> None:
    from espnet_s3router.data.format import format_data

    options = {"fs": args.fs, "audio_format": args.audio_format, "nj": args.nj, "on_bad": args.on_bad}
    _print_counts(args.dst, format_data(args.src, args.dst, **options))


def _filter(args: argparse.Namespace) -> None:
    from espnet_s3router.data.filter import filter_data
    from espnet_s3router.data.tokens import tokenizer

    tokenize = None
    if args.token_type != "none":
        tokenize = tokenizer(args.token_type, bpemodel=args.bpemodel, nlsyms=args.nlsyms_txt)
    options = {"fs": args.fs, "hop": args.hop, "receptive_field": args.receptive_field, "tokenize": tokenize}
    limits = {"min_wav_duration": args.min_wav_duration, "max_wav_duration": args.max_wav_duration}
    _print_counts(args.dst, filter_data(args.src, args.dst, **options, **limits))


def _tokens(args: argparse.Namespace) -> None:
    from espnet_s3router.data import tokens

    options = {"token_type": args.token_type, "nbpe": args.nbpe, "bpemode": args.bpemode}
    made = tokens.make_token_list(args.src, args.dst, nlsyms=args.nlsyms_txt, cutoff=args.cutoff, **options)
    print(f"{args.dst}: {len(made)} tokens")
    model = Path(args.dst).parent / tokens.BPE_MODEL if args.token_type == "bpe" else None
    tokenize = tokens.tokenizer(args.token_type, bpemodel=model, nlsyms=args.nlsyms_txt)
    for path in args.check:
        unknown = tokens.outside(made, tokens.read_texts(path), tokenize)
        if unknown:
            print(f"notice: {path} has {unknown.total()} tokens outside the list: {tokens.describe(unknown)}")


def build_parser() -> argparse.ArgumentParser:
    """One subcommand a stage."""
    parser = argparse.ArgumentParser(prog="python -m espnet_s3router.data")
    commands = parser.add_subparsers(required=True)

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    check = command("validate", _validate, "check data directories and list every problem")
    check.add_argument("dirs", nargs="+")

    speed = command("speed", _speed, "stage 2: a data directory with copies at other speeds")
    form = command("format", _format, "stage 3: every recording as 16 bit mono audio of one rate")
    drop = command("filter", _filter, "stage 4: leave out what cannot be trained on")
    token = command("tokens", _tokens, "stage 5: the token list")
    for sub in (speed, form, drop, token):
        sub.add_argument("src", help="data directory")
        sub.add_argument("dst", help="token list file" if sub is token else "data directory to write")
    for sub in (form, drop):
        sub.add_argument("--fs", type=hertz, default=16000, help="Hz")
    speed.add_argument("--factors", type=float, nargs="+", default=[0.9, 1.0, 1.1])
    form.add_argument("--audio_format", choices=("flac", "wav"), default="flac")
    form.add_argument("--nj", type=int, default=2, help="threads")
    form.add_argument("--on_bad", choices=("error", "drop"), default="error", help="faulty recordings")
    drop.add_argument("--min_wav_duration", type=float, default=0.1, help="seconds")
    drop.add_argument("--max_wav_duration", type=float, default=20.0, help="seconds")
    drop.add_argument("--hop", type=int, default=320, help="samples between two encoder frames")
    drop.add_argument("--receptive_field", type=int, default=400, help="samples that one encoder frame needs")
    drop.add_argument("--token_type", choices=("char", "bpe", "word", "none"), default="char")
    drop.add_argument("--bpemodel", help="needed when --token_type is bpe")
    token.add_argument("--token_type", choices=("char", "bpe", "word"), default="char")
    token.add_argument("--nbpe", type=int, default=30)
    token.add_argument("--bpemode", choices=("unigram", "bpe"), default="unigram")
    token.add_argument("--cutoff", type=int, default=0, help="symbols seen at most so often become <unk>")
    token.add_argument("--check", nargs="*", default=[], help="data directories to compare")
    for sub in (drop, token):
        sub.add_argument("--nlsyms_txt", help="file of symbols that are not split")
    return parser


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Run one command."""
    args = build_parser().parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    raise SystemExit(main())
