"""Packs of routes: one or many route files, and the base they lie on by its name or inside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.files import write_atomic
from espnet_s3router.plugin.deployment.route import speech_like
from espnet_s3router.progress import progress
from espnet_s3router.routes import open_route
from espnet_s3router.routes.container import CHECKSUM, pack, unpack
from espnet_s3router.serving import Bank, Router
from espnet_s3router.zoo.card import write_card
from espnet_s3router.zoo.facts import base_facts, route_facts
from espnet_s3router.zoo.meta import ROUTES, Meta, write_meta
from espnet_s3router.zoo.opened import open_folder
from espnet_s3router.zoo.plots import add_plots, check_plots
from espnet_s3router.zoo.scrub import is_local, packed_source, without_folders
from espnet_s3router.zoo.write import Packed, check_out, put_pack, work_folder

Answers = tuple[list[str], list[Tensor]]
"""Texts and outputs of a route, one for each audio."""
INSIDE, BY_NAME, AUTO = BASES = ("inside", "name", "auto")


def pack_routes(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    base: str = AUTO,
    source: Mapping[str, Any] | None = None,
    given: Mapping[str, Mapping[str, Any]] | None = None,
    licence: str = "",
    base_licence: str = "",
    waves: Sequence[Tensor] = (),
    plots: Sequence[str | Path] = (),
) -> Packed:
    """Pack route files of one base, named by their file names.

    Args:
        base: ``inside`` copies the weights of the base into the pack, ``name`` only names them. ``auto`` copies weights that
            lie on this machine.
        source: upstream and path of the base, instead of those that the routes name.
        given: facts by route that its metadata lack, such as intervals of the metrics.
        licence: licence of the data, for routes whose metadata lack it.
        base_licence: licence of the base, instead of what its folder says.
        waves: audio (samples,) at 16 kHz. The pack is opened again, and each route must give the same outputs on it, bit for
            bit, before ``out`` is put in place.
        plots: PNG files that the card shows. They go into the pack.

    Raises InputError for routes of several bases, for a name that occurs twice, and for a base on this machine that is to be
    named only.
    """
    out, routes = Path(out), {path.stem: open_route(path) for path in sorted(map(Path, files), key=lambda path: path.stem)}
    if not routes or len(routes) < len(files):
        raise InputError(f"{len(files)} route files have {len(routes)} names, expected one file name for each language")
    check_out(out)
    check_plots(plots)
    bank = Bank(source)
    for name, file in routes.items():
        bank.add(file.path, name)
    waves = [*waves, speech_like(1.5)]
    expected = {name: answers(Router(bank), name, waves) for name in routes}
    bank.restore()
    with work_folder(out) as work:
        folder = work / "pack"
        named = _source_of(routes[next(iter(routes))].header, source)
        inner = packed_base(named, base, folder)
        for name, file in routes.items():
            write_atomic(folder / "routes" / f"{name}.route", with_source(file.path, inner))
        models = {name: route_facts(file) for name, file in sorted(routes.items())}
        for name, facts in models.items():
            facts |= (given or {}).get(name, {})
            facts.setdefault("licence", licence)
        described = {"models": models, "base": base_facts(bank.frontend, inner, folder, base_licence)}
        meta = Meta(
            kind=ROUTES,
            task=routes[next(iter(routes))].header["metadata"].get("task", "asr"),
            files={f"route_{name}": f"routes/{name}.route" for name in sorted(routes)},
            yaml_files={},
            facts=described | add_plots(folder, plots),
        )
        write_card(folder, meta)
        write_meta(folder, meta)
        _check(Router(open_folder(folder)), waves, expected, out)
        size = put_pack(folder, out)
    return Packed(out, ROUTES, size, {name: texts[:-1] for name, (texts, _) in expected.items()})


def _source_of(header: Mapping[str, Any], source: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**(header["config"]["frontend_conf"].get("frontend_conf") or {}), **(source or {})}


def packed_base(source: Mapping[str, Any], base: str, folder: Path) -> dict[str, Any]:
    """The inner ``frontend_conf`` of the base in a pack, with its weights in ``folder`` if ``base`` asks for it."""
    local = is_local(source.get("path_or_url"))
    if base == BY_NAME and local:
        raise InputError(
            f"--base name: the base lies on this machine, in {source['path_or_url']}. Use --base inside, or name a public "
            "copy with --path_or_url, for example --path_or_url openai/whisper-tiny.en"
        )
    if base == INSIDE and not local:
        raise InputError(
            f"--base inside: upstream {source.get('upstream')} names weights that lie in no folder of this machine "
            f"({source.get('path_or_url') or 's3prl knows where'}). Use --base name, or give a folder with --path_or_url"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return packed_source(source, folder)


def with_source(path: Path, source: Mapping[str, Any]) -> bytes:
    """The route file with another place of its base, and without folders of this machine. Its tensors stay as they are."""
    header, tensors, _ = unpack(path)
    frontend, metadata = header["config"]["frontend_conf"] | {"frontend_conf": dict(source)}, dict(header["metadata"])
    for part, name in ((frontend, "mask_conf"), (metadata, "options")):
        if isinstance(part.get(name), Mapping):
            part[name] = without_folders(part[name])
    changed = {"config": header["config"] | {"frontend_conf": frontend}, "metadata": metadata}
    return pack({key: value for key, value in header.items() if key != CHECKSUM} | changed, tensors)


def answers(router: Router, name: str, waves: Sequence[Tensor]) -> Answers:
    """(texts, outputs) of a route for each audio."""
    shown = progress(waves, f"route {name}", "recording")
    pairs = [(router.transcribe(wave, name).text, router.hidden(name, wave)) for wave in shown]
    return [text for text, _ in pairs], [hidden for _, hidden in pairs]


def _check(router: Router, waves: Sequence[Tensor], expected: Mapping[str, Answers], out: Path) -> None:
    for name, (texts, outputs) in expected.items():
        got_texts, got = answers(router, name, waves)
        if got_texts != texts or not all(map(torch.equal, got, outputs)):
            raise InputError(f"{out}: was not written: route {name} gives other outputs from the pack. Report this fault")
