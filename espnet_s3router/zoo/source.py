"""Where packs come from: folders, zip files, and the Hugging Face hub, whose cache opens without network."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, summary
from espnet_s3router.zoo.archive import extract
from espnet_s3router.zoo.meta import META

ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
WHERE = "Expected a folder, a zip file, or OWNER/NAME or OWNER/NAME@REVISION of the Hugging Face hub"


@contextmanager
def folder_of(tag_or_path: str | Path) -> Iterator[Path]:
    """The folder of a pack, within the block."""
    path = Path(tag_or_path)
    if path.is_dir():
        yield path
    elif path.is_file():
        with tempfile.TemporaryDirectory(prefix="s3router_pack_") as name:
            extract(path, Path(name))
            yield Path(name)
    else:
        yield download(str(tag_or_path))


def download(tag: str) -> Path:
    """The folder of a pack of the hub. What was downloaded before is not downloaded again.

    Raises InputError for an id that cannot be one, that the hub does not have, or that holds no pack; and if the network or
    the cache cannot be used.
    """
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if not ID.fullmatch(tag):
        raise InputError(f"{tag}: there is no such file or folder. {WHERE}")
    name, _, revision = tag.partition("@")
    try:
        options: Any = {
            "revision": revision or None,
            "endpoint": os.environ.get("HF_ENDPOINT"),
            "library_name": "espnet-s3router",
        }
        hf_hub_download(name, META, **options)
        return Path(snapshot_download(name, **options))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{tag}: is not in the cache of this machine, and the hub cannot be reached ({summary(error)}). Check the "
            "network and HF_HUB_OFFLINE, or copy the pack here and give its path"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{name}: has no revision {revision!r}. Give a branch, a tag or a commit after the @") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{tag}: is no file here, and no public model of the hub. {WHERE}. For a private one, set HF_TOKEN"
        ) from error
    except EntryNotFoundError as error:
        raise InputError(f"{tag}: holds no {META}, so no pack of this package. Upload one with s3router upload") from error
    except HFValidationError as error:
        raise InputError(f"{tag}: is no file here, and no name of the hub ({summary(error)}). {WHERE}") from error
    except HfHubHTTPError as error:
        raise InputError(f"{tag}: the hub answered {summary(error)}. Try again later") from error
    except OSError as error:
        raise InputError(
            f"{tag}: the cache of the hub cannot be written: {summary(error)}. Set HF_HOME to a folder that you may write"
        ) from error
