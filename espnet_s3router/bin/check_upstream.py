"""``python -m espnet_s3router.bin.check_upstream FRONTEND_CONF …``: load upstreams, to see that runs can.

Each argument is the ``frontend_conf`` of a configuration, as JSON. What a method does with the upstream is not checked.
"""

import argparse
import json
from collections.abc import Sequence

from espnet_s3router.errors import exit_status

OF_METHODS = ("mask_conf", "distill")
"""Keys of ``frontend_conf`` that differ between the runs of a grid."""


@exit_status
def main(argv: Sequence[str] | None = None) -> None:
    """Build the frontend of every configuration without a method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("confs", nargs="+", type=json.loads, metavar="FRONTEND_CONF")
    args = parser.parse_args(argv)
    import espnet_s3router.plugin  # noqa: F401  registers our upstreams
    from espnet_s3router.plugin.frontend import MaskedUpstream

    for conf in args.confs:
        options = {name: value for name, value in conf.items() if name not in OF_METHODS}
        MaskedUpstream(**options, mask_conf={"method": "head_only"})


if __name__ == "__main__":
    raise SystemExit(main())
