"""Registration with ESPnet and s3prl: ``ClassChoices.classes`` is a plain dict and s3prl's hub a module, neither reads entry
points, so we add to them."""

import importlib

NAME = "masked_upstream"
S3PRL_ENTRIES = ("hf_whisper_custom",)
"""Upstreams that are ours: s3prl's hub finds them once this package is imported."""
_CHOICES = (
    ("espnet2.tasks.asr", True),
    ("espnet2.tasks.slu", True),
    ("espnet3.systems.esp2_asr.task", False),  # keeps its own copy of the choices; ships with espnet >= 202611 only
)


def register() -> None:
    """Add ``masked_upstream`` to the frontend choices of ASR and SLU (and of espnet3 where it is installed), our scheduler
    to ESPnet's and our upstreams to s3prl's hub; idempotent."""
    from espnet2.tasks.abs_task import scheduler_classes
    from s3prl import hub

    from espnet_s3router.plugin.frontend import MaskedUpstream
    from espnet_s3router.plugin.training import schedulers as restarts
    from espnet_s3router.plugin.upstreams import whisper

    for module_name, required in _CHOICES:
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            if required:
                raise
            continue
        module.frontend_choices.classes[NAME] = MaskedUpstream
    scheduler_classes[restarts.NAME] = restarts.TristageRounds
    for entry in S3PRL_ENTRIES:
        setattr(hub, entry, getattr(whisper, entry))
