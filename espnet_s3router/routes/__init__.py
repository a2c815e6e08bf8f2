"""Routes as files: what one language or task adds to the shared weights, coded, checked and compared."""

from espnet_s3router.routes.compare import combine, difference
from espnet_s3router.routes.file import RouteFile, open_route, read_route, write_route
from espnet_s3router.routes.gather import gather, routes_in
from espnet_s3router.routes.info import describe, inventory
from espnet_s3router.routes.route import EmptyRoute, Route

__all__ = [
    "EmptyRoute",
    "Route",
    "RouteFile",
    "combine",
    "describe",
    "difference",
    "gather",
    "inventory",
    "open_route",
    "read_route",
    "routes_in",
    "write_route",
]
