"""``python -m espnet_s3router.bin.asr_train``: ``espnet2.bin.asr_train`` with masked upstreams; the same options."""

from collections.abc import Sequence

from espnet_s3router.errors import exit_status


def main(cmd: Sequence[str] | None = None) -> None:
    """Train with the options ``cmd``, by default those of the command line."""
    from espnet_s3router.plugin.training.task import S3RouterASRTask

    S3RouterASRTask.main(cmd=cmd)


if __name__ == "__main__":
    raise SystemExit(exit_status(main)())
