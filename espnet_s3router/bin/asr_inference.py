"""``python -m espnet_s3router.bin.asr_inference``: ``espnet2.bin.asr_inference`` with masked upstreams.

The same options and one more: ``--ctc_best_path true`` takes the best path of the CTC head instead of a beam search.
"""

import argparse
from collections.abc import Sequence
from contextlib import nullcontext

from espnet_s3router.bin._run import report_input_errors

OPTION = "--ctc_best_path"


@report_input_errors
def main(cmd: Sequence[str] | None = None) -> None:
    """Decode; InputError ends with one paragraph and exit code 1."""
    from espnet2.bin.asr_inference import main as espnet_main

    import espnet_s3router.plugin  # noqa: F401  registers the frontend
    from espnet_s3router.errors import InputError
    from espnet_s3router.plugin.best_path import best_path_decoding

    own = argparse.ArgumentParser(prog="asr_inference", add_help=False, allow_abbrev=False)
    own.add_argument(OPTION, OPTION.replace("_", "-"), default="false", nargs="?", const="")
    found, options = own.parse_known_args(cmd)
    if {"-h", "--help"} & set(options):
        print(f"{OPTION} true|false, and ESPnet's options:\n")
    if found.ctc_best_path not in ("true", "false"):
        raise InputError(f"{OPTION} is {found.ctc_best_path!r}, expected true or false")
    with best_path_decoding() if found.ctc_best_path == "true" else nullcontext():
        espnet_main(cmd=options)


if __name__ == "__main__":
    main()
