"""Registration with ESPnet and s3prl. Neither reads entry points, so we add our classes to their tables."""

import importlib

from espnet2.tasks.abs_task import scheduler_classes
from s3prl import hub

from espnet_s3router.plugin.frontend import FRONTEND_NAME, MaskedUpstream
from espnet_s3router.plugin.masked_hugging_face import POSTENCODER_NAME, MaskedHuggingFace
from espnet_s3router.plugin.mean_pooling import ENCODER_NAME, MeanPooling
from espnet_s3router.plugin.training.schedulers import SCHEDULER, TristageRounds
from espnet_s3router.plugin.upstreams.whisper import hf_whisper_custom

S3PRL_ENTRIES = {"hf_whisper_custom": hf_whisper_custom}
"""Our upstreams: s3prl finds them in its hub once this package is imported."""
OTHERS = (
    ("encoder_choices", ENCODER_NAME, MeanPooling),
    ("postencoder_choices", POSTENCODER_NAME, MaskedHuggingFace),
    ("deliberationencoder_choices", POSTENCODER_NAME, MaskedHuggingFace),
)
"""Tables of ESPnet beside that of frontends, and what is added to them."""
_TASKS = {
    "espnet2.tasks.asr": True,
    "espnet2.tasks.slu": True,
    "espnet3.systems.esp2_asr.task": False,  # has its own table of frontends; only espnet >= 202611 ships it
}
"""Modules with tables of frontends and encoders, and whether every ESPnet version has them."""


def register() -> None:
    """Add our frontend, encoders, scheduler and upstreams to the tables of ESPnet and s3prl. Repeated calls are harmless."""
    for module_name, required in _TASKS.items():
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            if required:
                raise
            continue
        module.frontend_choices.classes[FRONTEND_NAME] = MaskedUpstream
        for table, name, ours in OTHERS:
            if hasattr(module, table):
                getattr(module, table).classes[name] = ours
    scheduler_classes[SCHEDULER] = TristageRounds
    for name, entry in S3PRL_ENTRIES.items():
        setattr(hub, name, entry)
