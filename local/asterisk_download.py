"""Fetch the Asterisk core sounds: recorded prompts with texts, one voice a language, 10-13 MB each.

On Debian and its relatives from the packages asterisk-core-sounds-LANG (texts) and -LANG-g722
(16 kHz audio), which are unpacked and not installed; elsewhere from the Asterisk project's own
download site. Licences: en, es, fr CC-BY-SA-3.0; it, ru CC-BY-3.0 (texts kept beside the data).
"""

import io
import subprocess
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_dir
from local import debian
from local.debian import DONE

SITE = "https://downloads.asterisk.org/pub/telephony/sounds"  # the project's own, for other systems
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
    """Where one language's files are: the list of texts, and the folder of .g722 files by key."""

    text_list: Path
    sounds: Path

    def seconds(self, key: str) -> float:
        """Duration of a recording, from its size (G.722 has a constant rate); 0 if it is not there."""
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
    """The folder with the unpacked files of ``lang``, fetched unless its done-marker is there.

    Raises InputError with what was tried when neither source can be reached.
    """
    target = download_dir / lang
    if (target / DONE).is_file():
        return target
    tried = []
    for fetch in (fetch_packages, fetch_tarball):
        try:
            with replacing_dir(target) as temporary:
                fetch(lang, temporary)
                find_source(temporary, lang)  # raises if what came is not what we need
                (temporary / DONE).write_text(fetch.__name__ + "\n")
            return target
        except (OSError, subprocess.SubprocessError, tarfile.TarError, InputError) as error:
            tried.append(f"{fetch.__name__}: {debian.reason(error)}")
    raise InputError(
        f"Asterisk sounds ({lang}): none of the two sources worked\n  " + "\n  ".join(tried) + "\nExpected a "
        "network connection. Or fetch asterisk-core-sounds-LANG and -LANG-g722 by hand and pass --sounds_dir."
    )


def fetch_packages(lang: str, folder: Path) -> None:
    """Download both Debian packages and unpack them into ``folder``."""
    debian.fetch_into([f"asterisk-core-sounds-{lang}", f"asterisk-core-sounds-{lang}-g722"], folder)


def fetch_tarball(lang: str, folder: Path) -> None:
    """Download and unpack the Asterisk project's own archive, which holds audio, texts and licence."""
    url = f"{SITE}/asterisk-core-sounds-{lang}-g722-current.tar.gz"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content = answer.read()
    except urllib.error.URLError as error:
        raise InputError(f"{url} cannot be read ({error.reason})") from error
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        archive.extractall(folder, filter="data")
