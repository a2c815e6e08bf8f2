"""Routes as files: what one language or task adds to the shared weights, coded, checked and compared."""

from espnet_s3router.routes.compare import combine, difference
from espnet_s3router.routes.file import RouteFile, open_route, read_route, write_route
from espnet_s3router.routes.info import describe
from espnet_s3router.routes.route import Route

__all__ = ["Route", "RouteFile", "combine", "describe", "difference", "open_route", "read_route", "write_route"]
