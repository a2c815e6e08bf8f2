"""Uploading a pack to the Hugging Face hub: create the repository, send the folder."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, summary
from espnet_s3router.files import read_yaml
from espnet_s3router.zoo.card import PLACEHOLDER, licences_of
from espnet_s3router.zoo.facts import UNKNOWN
from espnet_s3router.zoo.meta import CARD, META, Meta, files_below, read_meta
from espnet_s3router.zoo.source import ID, folder_of


@dataclass(frozen=True)
class Upload:
    """What was sent, or would be."""

    repo: str
    files: dict[str, int]
    """Paths in the repository, with their bytes."""
    url: str
    """Address of the commit; empty after a dry run."""


def upload(
    pack: str | Path, repo: str, *, private: bool = False, update: bool = False, revision: str = "", dry_run: bool = False
) -> Upload:
    """Upload a pack as the model ``repo`` (OWNER/NAME), with the token of HF_TOKEN or of ``hf auth login``.

    Args:
        private: create a repository that only its owner sees. With ``update``, the repository must be private already.
        update: add a commit to a repository that exists. Files of the pack that it holds now are removed if the new pack
            lacks them. The hub skips large files that it has, so this also goes on after an interruption.
        revision: name of a new tag for this version.
        dry_run: check everything and list the files, and send nothing.

    Raises InputError for a pack that is not whole, for an unknown licence of the data or the base, and without a token. Also
    if the repository exists (without ``update``), is public or has the tag, and if the hub refuses or cannot be reached.
    """
    if not ID.fullmatch(repo) or "@" in repo:
        raise InputError(f"the repository is {repo!r}, expected OWNER/NAME, for example jane/routes-of-europe")
    if not Path(pack).exists():
        raise InputError(f"{pack}: there is no such pack. Write one with s3router pack")
    with folder_of(pack) as folder, ExitStack() as stack:
        check_licences(read_meta(folder), pack)  # before anything is copied: it may be any folder
        ready = stack.enter_context(_with_card(folder, repo))
        files = {name: (ready / name).stat().st_size for name in files_below(ready)}
        if dry_run:
            return Upload(repo, files, "")
        return Upload(repo, files, _send(ready, repo, private, update, revision))


@contextmanager
def _with_card(folder: Path, repo: str) -> Iterator[Path]:
    """A copy of a pack whose card has the name of the repository in its examples."""
    with tempfile.TemporaryDirectory(prefix="s3router_upload_") as name:
        ready = Path(name) / "pack"
        for file in files_below(folder):
            (ready / file).parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(folder / file, ready / file)
        text = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).is_file() else ""
        (ready / CARD).unlink(missing_ok=True)  # it may be a link to the original
        (ready / CARD).write_text(text.replace(PLACEHOLDER, repo), encoding="utf-8")
        yield ready


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copyfile(source, target)


def check_licences(meta: Meta, pack: str | Path) -> None:
    """Raises InputError if the licence of the data or of the base is unknown: the hub shows one, and none is guessed."""
    for part, option in (("data", "--licence"), ("base", "--base_licence")):
        if UNKNOWN in licences_of(meta)[part]:
            raise InputError(f"{pack}: the licence of the {part} is unknown. Pack again with {option}, such as CC0-1.0")


def _send(folder: Path, repo: str, private: bool, update: bool, revision: str) -> str:
    """Create the repository and send the files. Returns the address of the commit."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    token = get_token()
    if not token:
        raise InputError("there is no token: set HF_TOKEN to one that may write (https://huggingface.co/settings/tokens)")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token, library_name="espnet-s3router")
    stale: list[str] = []
    again = "Run the same command with --update: files that arrived are not sent again"
    try:
        api.create_repo(repo, private=private, exist_ok=update)
        if update:
            _check_existing(api, repo, private, revision)
            stale = _stale_files(api, repo, folder)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message="Upload with s3router",
            delete_patterns=[glob.escape(name) for name in stale] or None,
        )
        if revision:
            api.create_tag(repo, tag=revision)
        return str(done.commit_url)
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 409 and not update:
            raise InputError(f"{repo} exists already: give another name, or --update to add a commit to it") from error
        if status in (401, 403):
            text = f"the hub refuses the token for {repo} (status {status}): give one that may write to {repo.split('/')[0]}"
            raise InputError(text) from error
        raise InputError(f"{repo}: the hub answered {summary(error)}. {again}") from error
    except (_network_error(HfHubHTTPError), OSError) as error:
        raise InputError(f"{repo}: the hub cannot be reached: {summary(error)}. {again}") from error


def _check_existing(api: Any, repo: str, private: bool, revision: str) -> None:
    """Raises InputError, before files are sent, if the repository is public against ``private`` or has the tag already."""
    if private and not api.model_info(repo).private:
        raise InputError(
            f"{repo} exists and is public, expected a private one. Make it private on the hub, or leave out --private"
        )
    if revision and revision in {tag.name for tag in api.list_repo_refs(repo).tags}:
        raise InputError(f"{repo} has the tag {revision} already, expected a new one. Give another --revision")


def _stale_files(api: Any, repo: str, folder: Path) -> list[str]:
    """Files of the pack in the repository that the pack in ``folder`` lacks. Files that no pack brought are not named."""
    if META not in api.list_repo_files(repo):
        return []
    older = read_yaml(Path(api.hf_hub_download(repo, META))).get("s3router")
    digests = older.get("sha256") if isinstance(older, dict) else None
    return sorted(set(digests or ()) - set(files_below(folder)))


def _network_error(http_error: type[Exception]) -> type[Exception]:
    """The base of all errors of the hub's HTTP library, which differs between versions of huggingface_hub."""
    return http_error.__bases__[0]
