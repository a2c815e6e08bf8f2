"""Download the Asterisk core sounds: recorded prompts with texts, one voice per language, 10-13 MB each.

On Debian and its relatives the packages asterisk-core-sounds-LANG (texts) and -LANG-g722 (16 kHz audio) are downloaded
and unpacked, not installed. On other systems the sounds come from the download site of the Asterisk project.
Licences: en, es, fr CC-BY-SA-3.0; it, ru CC-BY-3.0.
"""

import io
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError
from local import debian
from local.downloads import is_made, make_once

SITE = "https://downloads.asterisk.org/pub/telephony/sounds"  # of the Asterisk project
VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
G722_BYTES_PER_S = 8000  # 64 kbit/s
TIMEOUT_S = 60


@dataclass(frozen=True)
class Source:
    """The files of one language: the list of texts, and the folder of .g722 files, which are named by key."""

    text_list: Path
    sounds: Path

    def seconds(self, key: str) -> float:
        """Duration of a recording, from its size (G.722 has a constant rate); 0 if the recording is missing."""
        path = self.sounds / f"{key}.g722"
        return path.stat().st_size / G722_BYTES_PER_S if path.is_file() else 0.0


def find_source(root: Path, lang: str) -> Source:
    """Find texts and sounds below ``root``, in the layout of the packages, the archive or an installation."""
    names = (f"core-sounds-{lang}.txt.gz", f"core-sounds-{lang}.txt")
    lists = [path for name in names for path in sorted(root.rglob(name))]
    folders = sorted({path.parent for path in root.rglob("vm-goodbye.g722")})
    voiced = [folder for folder in folders if folder.name in (VOICES[lang], lang)]
    if not lists or not (voiced or len(folders) == 1):
        raise InputError(
            f"{root}: got {len(lists)} lists core-sounds-{lang}.txt, {len(folders)} folders of .g722 files; "
            f"expected one list and a folder {VOICES[lang]} or {lang} with vm-goodbye.g722. Pass the folder "
            "with both packages (asterisk-core-sounds-LANG and -LANG-g722) unpacked, or download them again."
        )
    return Source(lists[0], (voiced or folders)[0])


def download(lang: str, download_dir: Path) -> Path:
    """The folder with the unpacked files of ``lang``, downloaded unless it is complete.

    Raises InputError with the reason of each source when no source works.
    """
    reasons = []
    for fetch in (fetch_packages, fetch_tarball):

        def fill(folder: Path, fetch=fetch) -> str:
            fetch(lang, folder)
            find_source(folder, lang)  # raises if files are missing
            return fetch.__name__

        try:
            return make_once(download_dir / lang, fill)
        except (OSError, subprocess.SubprocessError, tarfile.TarError, InputError) as error:
            reasons.append(f"{fetch.__name__}: {debian.reason(error)}")
    raise InputError(
        f"Asterisk sounds ({lang}): none of the two sources worked\n  " + "\n  ".join(reasons) + "\nExpected a "
        "network connection. Or download asterisk-core-sounds-LANG and -LANG-g722 by hand and pass --sounds_dir."
    )


def fetch_packages(lang: str, folder: Path) -> None:
    """Download both Debian packages and unpack them into ``folder``."""
    debian.fetch_into([f"asterisk-core-sounds-{lang}", f"asterisk-core-sounds-{lang}-g722"], folder)


def fetch_tarball(lang: str, folder: Path) -> None:
    """Download and unpack the archive of the Asterisk project, which holds audio, texts and licence."""
    url = f"{SITE}/asterisk-core-sounds-{lang}-g722-current.tar.gz"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content = answer.read()
    except urllib.error.URLError as error:
        raise InputError(f"{url} cannot be read ({error.reason})") from error
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        archive.extractall(folder, filter="data")


def look(langs: Sequence[str], download_dir: Path, sounds_dir: Path | None) -> list[str]:
    """What is there of each language, one line each. Raises InputError if ``sounds_dir`` lacks a language."""
    if sounds_dir:
        sources = {lang: find_source(sounds_dir, lang) for lang in langs}
        return [f"{lang}: texts in {s.text_list}, recordings in {s.sounds}" for lang, s in sources.items()]
    folders = {lang: download_dir / lang for lang in langs}
    fetched = {lang: f"{folder} is downloaded" for lang, folder in folders.items() if is_made(folder)}
    return [f"{lang}: {fetched.get(lang, f'not in {folders[lang]} yet, stage 1 downloads it')}" for lang in langs]
