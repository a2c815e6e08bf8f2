"""``python -m espnet_s3router.bin.slu_inference``: ``espnet2.bin.slu_inference`` with masked upstreams.

The options are the same, and one more: ``--ctc_best_path true``, as of ``asr_inference``.
"""

from collections.abc import Sequence

from espnet_s3router.bin.asr_inference import decode
from espnet_s3router.errors import exit_status


def main(cmd: Sequence[str] | None = None) -> None:
    """Decode with the options ``cmd``, by default those of the command line."""
    decode("slu", cmd)


if __name__ == "__main__":
    raise SystemExit(exit_status(main)())
