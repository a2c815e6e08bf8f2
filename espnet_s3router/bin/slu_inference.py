"""``python -m espnet_s3router.bin.slu_inference``: ``espnet2.bin.slu_inference`` with masked upstreams; the same options."""

from collections.abc import Sequence

from espnet_s3router.bin.recordings import check_recordings
from espnet_s3router.errors import exit_status


def main(cmd: Sequence[str] | None = None) -> None:
    """Decode with the options ``cmd``, by default those of the command line."""
    from espnet2.bin.slu_inference import get_parser
    from espnet2.bin.slu_inference import main as espnet_main

    import espnet_s3router.plugin  # noqa: F401  registers the frontend

    args = get_parser().parse_args(cmd)
    check_recordings(args.data_path_and_name_and_type, args.key_file, args.slu_train_config)
    espnet_main(cmd=cmd)


if __name__ == "__main__":
    raise SystemExit(exit_status(main)())
