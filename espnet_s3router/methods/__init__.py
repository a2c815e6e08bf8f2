"""What a training run does with an upstream: one table of methods. Knows masks and upstreams, not ESPnet."""

from espnet_s3router.methods.base import Attached
from espnet_s3router.methods.table import METHODS, attach, check_type, resolve

__all__ = ["METHODS", "Attached", "attach", "check_type", "resolve"]
