"""``python -m espnet_s3router.bin.asr_inference``: ``espnet2.bin.asr_inference`` with masked upstreams.

The same options and one more: ``--ctc_best_path true`` takes the best path of the CTC head instead of a beam search.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext

from espnet_s3router.bin._run import report_input_errors

OPTION = "--ctc_best_path"


@report_input_errors
def main(cmd: Sequence[str] | None = None) -> None:
    """Decode; InputError ends with one paragraph and exit code 2."""
    from espnet2.bin.asr_inference import main as espnet_main

    import espnet_s3router.plugin  # noqa: F401  registers the frontend
    from espnet_s3router.errors import InputError
    from espnet_s3router.plugin.best_path import best_path_decoding

    options = list(sys.argv[1:] if cmd is None else cmd)
    chosen = "false"
    if OPTION in options:
        at = options.index(OPTION)
        chosen = options[at + 1] if at + 1 < len(options) else ""
        del options[at : at + 2]
    if chosen not in ("true", "false"):
        raise InputError(f"{OPTION} is {chosen!r}, expected true or false")
    with best_path_decoding() if chosen == "true" else nullcontext():
        espnet_main(cmd=options)


if __name__ == "__main__":
    main()
