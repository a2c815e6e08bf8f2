"""Recorded speech without the need for texts, to pretrain on: every Debian package that holds some.

| corpus       | package                   | licence              | what                                          |
|--------------|---------------------------|----------------------|-----------------------------------------------|
| festvox_ru   | festvox-ru                | BSD-like             | 620 read sentences, one speaker, phone labels |
| tuxpaint     | tuxpaint-stamps-default   | GPL-2                | names of things in nine languages, volunteers |
| fillets_cs   | fillets-ng-data-cs        | GPL-2                | dialogues of a game, a few actors             |
| fillets_nl   | fillets-ng-data-nl        | GPL-2                | the same in Dutch                             |
| asterisk_xx  | see ``local.asterisk``    | CC-BY-SA-3.0, CC-BY-3.0 | prompts, en es fr it ru: the train part only |

    python -m local.recordings --data_dir data --download_dir downloads
"""

import argparse
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.data.tables import write_table
from espnet_s3router.errors import InputError, exit_status
from espnet_s3router.files import replacing_dir
from local import asterisk, debian


@dataclass(frozen=True)
class Recordings:
    """Where the speech of one package lies. ``{lang}`` in ``pattern`` is each of ``langs``."""

    name: str
    package: str
    pattern: str
    langs: tuple[str, ...]
    licence: str


CORPORA = (
    Recordings(
        "festvox_ru", "festvox-ru", "usr/share/festival/voices/russian/*/wav/*.wav", ("ru",), "BSD-like, keep notice"
    ),
    Recordings(
        "tuxpaint",
        "tuxpaint-stamps-default",
        "usr/share/tuxpaint/stamps/**/*_desc_{lang}.ogg",
        ("be", "bg", "ca", "da", "el", "es", "fr", "ro", "ru"),
        "GPL-2",
    ),
    Recordings("fillets_cs", "fillets-ng-data-cs", "usr/share/games/fillets-ng/sound/*/{lang}/*.ogg", ("cs",), "GPL-2"),
    Recordings("fillets_nl", "fillets-ng-data-nl", "usr/share/games/fillets-ng/sound/*/{lang}/*.ogg", ("nl",), "GPL-2"),
)
PHONE_LABELS = "usr/share/festival/voices/russian/*/lab"  # of festvox_ru: one file an utterance


def prepare(corpus: Recordings, *, data_dir: Path, download_dir: Path) -> int:
    """Fetch ``corpus`` and write ``data_dir/<name>/{wav.scp,utt2spk,utt2lang,LICENCE}``; return its recordings.

    The same recording under several names counts once. Raises InputError when the package cannot be had or holds no speech.
    """
    root = debian.fetch([corpus.package], download_dir / corpus.package)
    wav, lang_of, seen = {}, {}, set()
    for lang in corpus.langs:
        for path in sorted(root.glob(corpus.pattern.format(lang=lang))):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest not in seen:
                seen.add(digest)
                utt = f"{corpus.name}-{lang}-{path.stem}-{digest[:8]}".replace(" ", "_")
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


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Prepare everything."""
    parser = argparse.ArgumentParser(prog="python -m local.recordings", description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--download_dir", type=Path, default=Path("downloads"))
    parser.add_argument("--corpora", nargs="+", default=[*(c.name for c in CORPORA), "asterisk"])
    args = parser.parse_args(argv)
    known = {corpus.name: corpus for corpus in CORPORA}
    for name in args.corpora:
        if name != "asterisk" and name not in known:
            raise InputError(f"--corpora: got {name!r}, expected some of {', '.join([*known, 'asterisk'])}")
    for name in args.corpora:
        if name in known:
            count = prepare(known[name], data_dir=args.data_dir, download_dir=args.download_dir)
            print(f"{args.data_dir / name}: {count} recordings, {known[name].licence}")
    if "asterisk" in args.corpora:
        for lang in sorted(asterisk.VOICES):
            sets = asterisk.prepare(lang, data_dir=args.data_dir, download_dir=args.download_dir / "asterisk")
            print(f"{args.data_dir}/train_{lang}: {sets[f'train_{lang}'][0]} recordings, dev and test left out")


if __name__ == "__main__":
    raise SystemExit(main())
