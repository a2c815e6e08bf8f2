"""Baked packs: the masks are in the weights, so ESPnet opens the model without this package."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from torch import Tensor

from espnet_s3router.files import read_yaml
from espnet_s3router.plugin.best_path import best_path
from espnet_s3router.plugin.deployment.bake import bake_experiment, check_outputs, load_experiment, outputs
from espnet_s3router.plugin.deployment.route import speech_like
from espnet_s3router.plugin.deployment.stock import open_with_espnet
from espnet_s3router.progress import progress
from espnet_s3router.zoo.archive import write_zip
from espnet_s3router.zoo.card import write_card
from espnet_s3router.zoo.facts import base_facts, model_facts
from espnet_s3router.zoo.meta import BAKED, Meta, write_meta
from espnet_s3router.zoo.opened import check_opened
from espnet_s3router.zoo.plots import add_plots, check_plots
from espnet_s3router.zoo.scrub import UPSTREAM, WEIGHTS, packed_config
from espnet_s3router.zoo.write import Packed, check_out, put_pack, work_folder

MODEL, CONFIG = "model.pth", "config.yaml"
HUGGING_FACE = "frontend.upstream.upstream.model."
"""Beginning of the names of a Hugging Face upstream's tensors in ESPnet's model."""


def pack_baked(
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
    """Bake an experiment into a pack that ``espnet2``'s ``from_pretrained`` opens.

    Args:
        facts: language, licence, metrics and the like, for the card.
        decoding: options of the decoder; empty for best path.
        base_licence: licence of the upstream, instead of what its folder says.
        waves: audio (samples,) at the rate of the frontend. ESPnet and this package open the pack and transcribe it
            before ``out`` is put in place; outputs must be those of the trained model, bit for bit.
        plots: PNG files that the card shows. They go into the pack.

    Raises:
        NotBakeable: stock ESPnet does not know the upstream, or the method added modules.
        InputError: a file is missing, or the packed model gives other outputs.
    """
    out, given = Path(out), facts or {}
    name = str(given.get("language") or "model")
    check_out(out)
    check_plots(plots)
    waves = [*waves, speech_like(1.5)]
    with work_folder(out) as work:
        bake_experiment(train_config, model_file, work / "baked", task=task)
        model, args = load_experiment(Path(train_config), Path(model_file), task)
        expected = [outputs(model, wave) for wave in progress(waves, "trained model", "recording")]
        folder = work / "pack"
        folder.mkdir()
        config = packed_config(read_yaml(work / "baked" / CONFIG), folder)
        size = write_weights(work / "baked" / MODEL, folder)
        about = {name: model_facts(model, args, given, size)}
        shown: Any = {"decoding": decoding, "base_licence": base_licence, "plots": plots}
        write_description(folder, BAKED, task, config, model, about, **shown)
        check_opened(folder, name, waves, expected, f"{out}: was not written")
        write_zip(folder, work / "check.zip")
        texts = check_stock(work / "check.zip", task, work / "cache", waves, expected)
        size = put_pack(folder, out)
    return Packed(out, BAKED, size, {name: texts[:-1]})


def write_weights(model_file: Path, folder: Path) -> int:
    """Put the weights of a baked model into the pack in ``folder``, and return their bytes.

    s3prl loads a Hugging Face upstream from its folder in the pack before ESPnet loads ``model.pth``. The baked weights of
    the upstream go there, in place of those of the base, and ``model.pth`` holds the rest. It holds all of other upstreams.
    """
    state = torch.load(model_file, map_location="cpu", weights_only=True)
    upstream = {key.removeprefix(HUGGING_FACE): t for key, t in state.items() if key.startswith(HUGGING_FACE)}
    place, size = folder / UPSTREAM, 0
    if upstream and (place / "config.json").is_file():
        for path in [path for pattern in (*WEIGHTS, "*.index.json") for path in place.glob(pattern)]:
            path.unlink()
        tensors = {name: tensor.contiguous() for name, tensor in upstream.items()}
        safetensors.torch.save_file(tensors, place / WEIGHTS[0], metadata={"format": "pt"})
        state = {key: tensor for key, tensor in state.items() if not key.startswith(HUGGING_FACE)}
        size = (place / WEIGHTS[0]).stat().st_size
    torch.save(state, folder / MODEL)
    return size + (folder / MODEL).stat().st_size


def write_description(
    folder: Path,
    kind: str,
    task: str,
    config: Mapping[str, Any],
    model: Any,
    about: Mapping[str, Any],
    *,
    decoding: Mapping[str, Any] | None,
    base_licence: str,
    plots: Sequence[str | Path],
) -> None:
    """Write configuration, card and ``meta.yaml`` beside the model file of a pack of one model.

    ``about``: name of the model -> its facts. The other arguments are those of ``pack_baked``.
    """
    (folder / CONFIG).write_text(yaml.safe_dump(dict(config), allow_unicode=True), encoding="utf-8")
    meta = Meta(
        kind=kind,
        task=task,
        files={f"{task}_model_file": MODEL},
        yaml_files={f"{task}_train_config": CONFIG},
        facts={
            "models": dict(about),
            "base": base_facts(model.frontend, config["frontend_conf"]["frontend_conf"], folder, base_licence),
            "decoding": dict(decoding or {}),
            **add_plots(folder, plots),
        },
    )
    write_card(folder, meta)
    write_meta(folder, meta)


def check_stock(archive: Path, task: str, cache: Path, waves: Sequence[Tensor], expected: Sequence[Tensor]) -> list[str]:
    """What ESPnet's own class recognises in each audio. Raises InputError unless it gives the ``expected`` outputs."""
    stock = open_with_espnet(archive, task, cache)
    model = stock.asr_model
    check_outputs(model, waves, expected, f"{archive.name}: was not written")
    if getattr(model, "ctc", None) is None:
        return [stock(wave)[0][0] for wave in waves]
    with torch.no_grad():
        ids = [best_path(values)[0] for values in expected]
    return [stock.tokenizer.tokens2text(stock.converter.ids2tokens(tokens)) for tokens in ids]
