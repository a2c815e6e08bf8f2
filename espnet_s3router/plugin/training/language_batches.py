"""Joint training of several languages (method ``pathways``): each batch uses the masks of its language.

The language of an utterance stands in ``utt2category`` beside the audio. ESPnet reads the same file to make batches of one
language, for which it needs ``batch_type: folded``.
"""

import argparse
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError
from espnet_s3router.methods.pathways import LanguageHead, Pathways
from espnet_s3router.text_files import read_text

TABLE = "utt2category"
BATCH_TYPE = "folded"
"""The only type for which ESPnet keeps categories apart."""


def give_heads(model: Any) -> None:
    """Replace the output layer of ESPnet's CTC by one for each language, if the method asks for it.

    Raises InputError for a model that does not end in CTC alone, because decoders have output layers of their own.
    """
    attached = getattr(getattr(model, "frontend", None), "attached", None)
    if not isinstance(attached, Pathways) or attached.options.heads != "own":
        return
    if model.ctc is None or model.ctc_weight != 1.0:
        raise InputError(
            f"heads: own needs a CTC model, got ctc_weight {model.ctc_weight}. Set ctc_weight: 1.0, or heads: shared"
        )
    attached.head = model.ctc.ctc_lo = LanguageHead(model.ctc.ctc_lo, attached.options.languages)


def use_language_of_batch(args: argparse.Namespace, model: Any) -> None:
    """Let every forward pass of ``model`` (ESPnet's, with our frontend) use the masks of its batch's language.

    Nothing happens for other methods. Raises InputError if an utterance has no language, if its language has no masks, and
    for settings with which batches mix languages.
    """
    attached = model.frontend.attached
    if not isinstance(attached, Pathways):
        return
    check_batches(args)
    language_of: dict[str, str] = {}
    for part in ("train", "valid"):
        language_of |= read_languages(args, part, attached.options.languages)
    model.register_forward_pre_hook(
        lambda module, inputs, options: attached.use(language_of_batch(options["utt_id"], language_of)), with_kwargs=True
    )


def check_batches(args: argparse.Namespace) -> None:
    """Raises InputError for settings with which ESPnet does not make batches of one language."""
    types = {"batch_type": args.batch_type, "valid_batch_type": args.valid_batch_type or args.batch_type}
    for name, value in types.items():
        if value != BATCH_TYPE:
            raise InputError(
                f"{name} is {value!r}, with which batches mix languages. Method pathways needs {name}: {BATCH_TYPE}, with "
                "batch_size and fold_length"
            )
    if args.iterator_type != "sequence":
        raise InputError(f"iterator_type is {args.iterator_type!r}, expected sequence with method pathways")


def read_languages(args: argparse.Namespace, part: str, languages: tuple[str, ...]) -> dict[str, str]:
    """The language of each utterance of the training (``train``) or validation (``valid``) data."""
    path = Path(getattr(args, f"{part}_data_path_and_name_and_type")[0][0]).parent / TABLE
    if not path.is_file():
        raise InputError(
            f"there is no {path}. Method pathways needs the language of every utterance there: `UTTERANCE LANGUAGE`"
        )
    table = read_text(path)
    for utterance, language in table.items():
        if language not in languages:
            raise InputError(
                f"{path}: the language of {utterance} is {language!r}, expected one of {', '.join(languages)} "
                "(languages in mask_conf)"
            )
    shapes = getattr(args, f"{part}_shape_file")
    missing = sorted(read_text(shapes[0]).keys() - table.keys()) if shapes else []
    if missing:
        raise InputError(f"{path} names no language for {len(missing)} utterances, for example {missing[0]}. Add them")
    return table


def language_of_batch(utterances: list[str], language_of: dict[str, str]) -> str:
    """The language of a batch. Raises InputError if it has several, or if an utterance has none."""
    first: dict[str, str] = {}
    for utterance in utterances:
        if utterance not in language_of:
            raise InputError(f"{TABLE} names no language for {utterance}. Add it")
        first.setdefault(language_of[utterance], utterance)
    if len(first) > 1:
        listed = ", ".join(f"{utterance} is {language}" for language, utterance in first.items())
        raise InputError(f"a batch mixes languages: {listed}. Expected batches of one language")
    return next(iter(first))
