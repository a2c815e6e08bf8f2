"""Makes ESPnet know us: importing this package registers the frontend ``masked_upstream`` with every task that has one."""

from espnet_s3router.plugin.register import register

register()

__all__ = ["register"]
