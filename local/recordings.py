"""Recorded speech for pretraining, which needs no texts: all Debian packages that hold speech.

| corpus       | package                   | licence              | content                                       |
|--------------|---------------------------|----------------------|-----------------------------------------------|
| festvox_ru   | festvox-ru                | BSD-like             | 620 read sentences, one speaker, phone labels |
| tuxpaint     | tuxpaint-stamps-default   | GPL-2                | names of things in nine languages, volunteers |
| fillets_cs   | fillets-ng-data-cs        | GPL-2                | dialogues of a game in Czech, a few actors    |
| fillets_nl   | fillets-ng-data-nl        | GPL-2                | the same dialogues in Dutch                   |
| asterisk     | see ``local.asterisk``    | CC-BY-SA-3.0, CC-BY-3.0 | prompts in five languages, train part only |

    python -m local.recordings --data_dir data --download_dir downloads
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import digest, replacing_dir
from espnet_s3router.text_files import write_table
from local import debian
from local.asterisk import download as asterisk_download
from local.asterisk import prepare as asterisk
from local.downloads import CHECK, CHECK_HELP, is_made


@dataclass(frozen=True)
class Recordings:
    """The speech of one package: the files that match ``pattern``, in which ``{lang}`` stands for each of ``langs``."""

    name: str
    package: str
    pattern: str
    langs: tuple[str, ...]
    licence: str


FESTVOX = "usr/share/festival/voices/russian/*/wav/*.wav"
FILLETS = "usr/share/games/fillets-ng/sound/*/{lang}/*.ogg"
STAMPS = "usr/share/tuxpaint/stamps/**/*_desc_{lang}.ogg"
STAMP_LANGS = ("be", "bg", "ca", "da", "el", "es", "fr", "ro", "ru")
CORPORA = (
    Recordings("festvox_ru", "festvox-ru", FESTVOX, ("ru",), "BSD-like, keep notice"),
    Recordings("tuxpaint", "tuxpaint-stamps-default", STAMPS, STAMP_LANGS, "GPL-2"),
    Recordings("fillets_cs", "fillets-ng-data-cs", FILLETS, ("cs",), "GPL-2"),
    Recordings("fillets_nl", "fillets-ng-data-nl", FILLETS, ("nl",), "GPL-2"),
)


def prepare(corpus: Recordings, *, data_dir: Path, download_dir: Path) -> int:
    """Download ``corpus`` and write ``data_dir/<name>/{wav.scp,utt2spk,utt2lang,LICENCE}``. Returns its recordings.

    Files with equal content count once. Raises InputError when the package cannot be downloaded or holds no speech.
    """
    root = debian.fetch([corpus.package], download_dir / corpus.package)
    wav, lang_of, seen = {}, {}, set()
    for lang in corpus.langs:
        for path in sorted(root.glob(corpus.pattern.format(lang=lang))):
            sha = digest(path)
            if sha not in seen:
                seen.add(sha)
                utt = f"{corpus.name}-{lang}-{path.stem}-{sha[:8]}".replace(" ", "_")
                wav[utt], lang_of[utt] = str(path), lang
    if not wav:
        raise InputError(
            f"{root} holds no {corpus.pattern}. Expected the files of {corpus.package}: remove it and run again"
        )
    with replacing_dir(data_dir / corpus.name) as folder:
        write_table(folder / "wav.scp", wav)
        write_table(folder / "utt2lang", lang_of)
        write_table(folder / "utt2spk", {utt: f"{corpus.name}-{lang}" for utt, lang in lang_of.items()})
        notice = root / "usr/share/doc" / corpus.package / "copyright"
        if notice.is_file():
            shutil.copyfile(notice, folder / "LICENCE")
    return len(wav)


def look(corpora: Sequence[Recordings], download_dir: Path) -> list[str]:
    """What is there of each corpus, one line each."""
    folders = {corpus.name: download_dir / corpus.package for corpus in corpora}
    there = {name: f"{folder} is downloaded" for name, folder in folders.items() if is_made(folder)}
    return [f"{name}: {there.get(name, f'not in {folder} yet, stage 1 downloads it')}" for name, folder in folders.items()]


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the requested corpora, by default all of them."""
    known = {corpus.name: corpus for corpus in CORPORA}
    parser = argparse.ArgumentParser(prog="python -m local.recordings", description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--download_dir", type=Path, default=Path("downloads"))
    parser.add_argument("--corpora", nargs="+", default=[*known, "asterisk"])
    parser.add_argument(CHECK, action="store_true", help=CHECK_HELP)
    args = parser.parse_args(argv)
    for name in args.corpora:
        if name != "asterisk" and name not in known:
            raise InputError(f"--corpora: got {name!r}, expected some of {', '.join([*known, 'asterisk'])}")
    if args.check_corpus:
        print("\n".join(look([known[name] for name in args.corpora if name in known], args.download_dir)))
        if "asterisk" in args.corpora:
            print("\n".join(asterisk_download.look(sorted(asterisk_download.VOICES), args.download_dir / "asterisk", None)))
        return
    for name in args.corpora:
        if name in known:
            count = prepare(known[name], data_dir=args.data_dir, download_dir=args.download_dir)
            print(f"{args.data_dir / name}: {count} recordings, {known[name].licence}")
    if "asterisk" in args.corpora:
        for lang in sorted(asterisk_download.VOICES):
            sets = asterisk.prepare(lang, data_dir=args.data_dir, download_dir=args.download_dir / "asterisk")
            print(f"{args.data_dir}/train_{lang}: {sets[f'train_{lang}'][0]} recordings, dev and test left out")


if __name__ == "__main__":
    raise SystemExit(main())
