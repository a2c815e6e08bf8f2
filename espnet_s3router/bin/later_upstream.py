"""A trained run on the upstream that a later run left: config.yaml, a model file and changes.json in OUT.

python -m espnet_s3router.bin.later_upstream FIRST_CONFIG FIRST_MODEL LATER_CONFIG LATER_MODEL OUT
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_s3router.errors import exit_status


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Write the model and print how many weights the later run changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first_config", type=Path, help="config.yaml of the run whose head and masks are kept")
    parser.add_argument("first_model", type=Path, help="its model file")
    parser.add_argument("later_config", type=Path, help="config.yaml of the run that was trained later")
    parser.add_argument("later_model", type=Path, help="its model file")
    parser.add_argument("out", type=Path, help="folder to write into")
    for name in ("first", "later"):
        parser.add_argument(
            f"--{name}_task", choices=("asr", "slu"), default="asr", help=f"task of ESPnet of the {name} run"
        )
    args = parser.parse_args(argv)
    from espnet_s3router.plugin.later_upstream import Trained, write_on_later_upstream

    first = Trained(args.first_config, args.first_model, args.first_task)
    later = Trained(args.later_config, args.later_model, args.later_task)
    changes = write_on_later_upstream(first, later, args.out)
    print(f"{args.out}: the later run changed {changes['weights']} of {changes['of_weights']} shared weights")


if __name__ == "__main__":
    raise SystemExit(main())
