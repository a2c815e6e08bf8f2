"""Decoding in espnet3: ESPnet's ``Speech2Text`` on masked upstreams, by best path as in the egs2 recipes."""

from typing import Any


def speech2text(**options: Any) -> Any:
    """``espnet2.bin.asr_inference.Speech2Text`` that takes the best path of the CTC head. The options are ESPnet's."""
    from espnet2.bin import asr_inference

    from espnet_s3router.plugin.best_path import best_path_decoding  # this import registers the frontend, too

    with best_path_decoding():
        return asr_inference.Speech2Text(**options)
