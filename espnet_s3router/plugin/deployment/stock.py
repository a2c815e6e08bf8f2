"""Models as ESPnet without this package opens them: through espnet_model_zoo, from an archive."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_s3router.errors import InputError, summary


def open_with_espnet(archive: Path, task: str, cache: Path) -> Any:
    """ESPnet's ``Speech2Text`` or ``Speech2Understand`` of a packed model, as ``from_pretrained`` builds it.

    The archive is unpacked below ``cache``. Raises InputError if ESPnet cannot open it.
    """
    from espnet_model_zoo.downloader import ModelDownloader

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            files = ModelDownloader(cache).download_and_unpack(str(archive))
            return build(files, task)
    except Exception as error:  # ESPnet, s3prl and torch raise many types
        raise InputError(f"{archive.name}: was not written, because ESPnet cannot open it: {summary(error)}") from error


def build(files: Mapping[str, Any], task: str) -> Any:
    """ESPnet's class for ``files``, ESPnet's keywords to paths. Models without a decoder are searched by CTC alone."""
    if task == "slu":
        from espnet2.bin.slu_inference import Speech2Understand as Stock
    else:
        from espnet2.bin.asr_inference import Speech2Text as Stock
    return Stock(**files, ctc_weight=1.0, beam_size=5)
