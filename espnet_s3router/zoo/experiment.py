"""Packs of whole experiments: for models that are neither routes nor baked, such as shrunk ones and finetuned Whisper."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from espnet_s3router.errors import InputError
from espnet_s3router.files import read_yaml
from espnet_s3router.plugin.deployment.bake import NotBakeable, load_experiment, outputs
from espnet_s3router.plugin.deployment.route import speech_like
from espnet_s3router.plugin.frontend import FRONTEND_NAME
from espnet_s3router.plugin.upstreams.source import opening
from espnet_s3router.progress import progress
from espnet_s3router.zoo.baked import MODEL, pack_baked, write_description
from espnet_s3router.zoo.facts import model_facts
from espnet_s3router.zoo.meta import BAKED, EXPERIMENT
from espnet_s3router.zoo.opened import check_opened
from espnet_s3router.zoo.plots import check_plots
from espnet_s3router.zoo.scrub import packed_config
from espnet_s3router.zoo.write import Packed, check_out, put_pack, work_folder


def pack_model(
    train_config: str | Path, model_file: str | Path, out: str | Path, *, kind: str = "", **options: Any
) -> Packed:
    """Pack an experiment as ``kind``: baked, or experiment. Without a kind, it is baked if stock ESPnet can use it.

    Options and errors are those of ``pack_baked``.
    """
    if kind != EXPERIMENT:
        try:
            return pack_baked(train_config, model_file, out, **options)
        except NotBakeable:
            if kind == BAKED:
                raise
    return pack_experiment(train_config, model_file, out, **options)


def pack_experiment(
    train_config: str | Path,
    model_file: str | Path,
    out: str | Path,
    *,
    task: str = "asr",
    facts: Mapping[str, Any] | None = None,
    decoding: Mapping[str, Any] | None = None,
    base_licence: str = "",
    waves: Sequence[Tensor] = (),
    plots: Sequence[str | Path] = (),
) -> Packed:
    """Pack what training or ``s3router shrink`` wrote; this package opens it. Arguments as for ``pack_baked``.

    The base is inside if its weights lie on this machine, else it is named. Raises InputError if a file is missing, if the
    frontend is another one than ``masked_upstream``, and if the packed model gives other outputs.
    """
    out, given = Path(out), facts or {}
    name = str(given.get("language") or "model")
    check_out(out)
    check_plots(plots)
    waves = [*waves, speech_like(1.5)]
    model, args = load_experiment(Path(train_config), Path(model_file), task)
    if args.frontend != FRONTEND_NAME:
        raise InputError(
            f"{train_config}: frontend is {args.frontend}, expected {FRONTEND_NAME}. Pack it with espnet2.bin.pack"
        )
    expected = [outputs(model, wave) for wave in progress(waves, "trained model", "recording")]
    with work_folder(out) as work:
        folder = work / "pack"
        folder.mkdir()
        with opening(train_config):
            config = packed_config(read_yaml(train_config), folder)
        torch.save(torch.load(model_file, map_location="cpu", weights_only=True), folder / MODEL)
        about = {name: model_facts(model, args, given, (folder / MODEL).stat().st_size)}
        shown: Any = {"decoding": decoding, "base_licence": base_licence, "plots": plots}
        write_description(folder, EXPERIMENT, task, config, model, about, **shown)
        router = check_opened(folder, name, waves, expected, f"{out}: was not written")
        texts = [router.transcribe(wave, name).text for wave in waves[:-1]]
        size = put_pack(folder, out)
    return Packed(out, EXPERIMENT, size, {name: texts})
