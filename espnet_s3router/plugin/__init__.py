"""The ESPnet plugin. Importing it registers the frontend ``masked_upstream`` with every ESPnet task that has frontends."""

from espnet_s3router.plugin.register import register

register()

__all__ = ["register"]
