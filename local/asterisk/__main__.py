"""Asterisk core sounds: a speech recognition corpus of five languages with one voice each.

The sounds are recorded prompts of the Asterisk telephone exchange with their texts, about 24 minutes per language.
Licences: en and es (Allison Smith) and fr (June Wallack) CC-BY-SA-3.0; it (Carlo Flora) and ru (Maxim Topal,
ivrvoice.ru) CC-BY-3.0. The audio is downloaded, never redistributed here; licence texts are copied beside it.

    python -m local.asterisk --lang en --minutes 10
    python -m local.asterisk --lang en es fr it ru --families    which service is speaking: an intent task
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import exit_status
from local.asterisk.download import VOICES, look
from local.asterisk.families import prepare_families
from local.asterisk.prepare import prepare
from local.downloads import CHECK, CHECK_HELP


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare one or more languages."""
    parser = argparse.ArgumentParser(prog="python -m local.asterisk", description=__doc__.split("\n")[0])
    parser.add_argument("--lang", nargs="+", choices=sorted(VOICES), default=["en"])
    parser.add_argument("--minutes", type=float, default=10, help="duration of the small training set")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--download_dir", type=Path, default=Path("downloads/asterisk"))
    parser.add_argument("--sounds_dir", type=Path, help="folder with the unpacked sounds, instead of downloading them")
    parser.add_argument("--families", action="store_true", help="then the intent task on all languages together")
    parser.add_argument(CHECK, action="store_true", help=CHECK_HELP)
    args = parser.parse_args(argv)
    if args.check_corpus:
        print("\n".join(look(args.lang, args.download_dir, args.sounds_dir)))
        return
    options = {"data_dir": args.data_dir, "download_dir": args.download_dir, "sounds_dir": args.sounds_dir}
    for lang in args.lang:
        for name, (utts, seconds) in prepare(lang, minutes=args.minutes, **options).items():
            print(f"{args.data_dir / name}: {utts} utterances, {seconds / 60:.2f} min")
    for name, (utts, intents) in prepare_families(args.lang, args.data_dir).items() if args.families else ():
        print(f"{args.data_dir / name}: {utts} utterances, {', '.join(f'{n} {intent}' for intent, n in intents.items())}")


if __name__ == "__main__":
    raise SystemExit(main())
