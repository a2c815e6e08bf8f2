"""Registration with ESPnet. ``ClassChoices.classes`` is a plain dict and no version reads entry points, so we add to it."""

import importlib

NAME = "masked_upstream"
_CHOICES = (
    ("espnet2.tasks.asr", True),
    ("espnet2.tasks.slu", True),
    ("espnet3.systems.esp2_asr.task", False),  # keeps its own copy of the choices; ships with espnet >= 202611 only
)


def register() -> None:
    """Add ``masked_upstream`` to the frontend choices of ASR and SLU (and of espnet3 where it is installed); idempotent."""
    from espnet_s3router.plugin.frontend import MaskedUpstream

    for module_name, required in _CHOICES:
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            if required:
                raise
            continue
        module.frontend_choices.classes[NAME] = MaskedUpstream
