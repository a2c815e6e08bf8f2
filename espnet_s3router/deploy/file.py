"""The file of a smaller upstream: its tensors and its sizes, without code (safetensors).

It belongs to a base, whose architecture it takes and whose other tensors it leaves as they are.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from espnet_s3router.deploy.resize import take_widths
from espnet_s3router.errors import InputError
from espnet_s3router.files import replacing_file
from espnet_s3router.upstreams import Family
from espnet_s3router.upstreams.structure import Widths, structure_of

FORMAT = "s3router-shrunk-1"


def write_shrunk(path: Path, expert: nn.Module, family: Family, *, base: str, upstream: str) -> None:
    """Write the frontend, the projection and the Transformer of a smaller ``expert``. ``base`` is the fingerprint of the
    upstream it comes from, and ``upstream`` its name for messages."""
    widths = structure_of(expert, family).widths
    metadata = {"format": FORMAT, "base": base, "upstream": upstream, "widths": json.dumps(asdict(widths))}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _stored(expert, family).items()}
    with replacing_file(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata=metadata)


def read_shrunk(path: Path, option: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, metadata with ``widths``) of a file; InputError that names ``option`` for another or a damaged file."""
    if not path.is_file():
        raise InputError(f"{option} is {str(path)!r}, and there is no such file. Expected a file that s3router shrink wrote")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{option}: {path} cannot be read: {error}. Expected a file that s3router shrink wrote") from error
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{option}: {path} has format {metadata.get('format')!r}, expected {FORMAT!r}, from s3router shrink"
        )
    widths = {name: tuple(sizes) for name, sizes in json.loads(metadata["widths"]).items()}
    return tensors, metadata | {"widths": Widths(**widths)}


def load_shrunk(expert: nn.Module, family: Family, path: Path, *, base: str, upstream: str, option: str) -> None:
    """Give ``expert``, an upstream as it was pretrained, the sizes and tensors of a file, in place.

    ``base`` is the fingerprint of ``expert``, ``upstream`` its name. Raises InputError if the file belongs to another one.
    """
    tensors, metadata = read_shrunk(path, option)
    if metadata["base"] != base:
        raise InputError(
            f"{option}: {path} was made from upstream {metadata['upstream']!r} with fingerprint {metadata['base'][:12]}, "
            f"but this is {upstream!r} with {base[:12]}. Set upstream and path_or_url to those that it was made from"
        )
    take_widths(expert, family, metadata["widths"])
    expected = {name: tensor.shape for name, tensor in _stored(expert, family).items()}
    if expected != {name: tensor.shape for name, tensor in tensors.items()}:
        names = sorted(expected.items() ^ {name: tensor.shape for name, tensor in tensors.items()}.items())
        raise InputError(f"{option}: {path} does not fit its own sizes, for example {names[0][0]}. Write it again")
    expert.load_state_dict(tensors, strict=False)


def _stored(expert: nn.Module, family: Family) -> dict[str, Tensor]:
    """The tensors that take part in the hidden states, by path."""
    parts = (family.extractor, family.encoder, *family.projection)
    return {name: t for name, t in expert.state_dict().items() if name.startswith(tuple(f"{part}." for part in parts))}
