"""Methods: what a training run does with an upstream. Knows masks and upstreams, not ESPnet."""

from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.options import check_type, read_options, suggestion
from espnet_s3router.methods.table import METHODS, attach, resolve

__all__ = ["METHODS", "Attached", "attach", "check_type", "read_options", "resolve", "suggestion"]
