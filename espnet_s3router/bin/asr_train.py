"""``python -m espnet_s3router.bin.asr_train``: ``espnet2.bin.asr_train`` with masked upstreams; the same options."""

from collections.abc import Sequence

from espnet_s3router.bin._run import report_input_errors


@report_input_errors
def main(cmd: Sequence[str] | None = None) -> None:
    """Train; InputError ends with one paragraph and exit code 1."""
    from espnet_s3router.plugin.training.task import S3RouterASRTask

    S3RouterASRTask.main(cmd=cmd)


if __name__ == "__main__":
    main()
