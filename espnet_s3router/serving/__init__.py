"""Serving: many routes on one base in memory, the text of recordings, and the language of a recording."""

from espnet_s3router.serving.bank import Bank
from espnet_s3router.serving.router import Router, Transcript

__all__ = ["Bank", "Router", "Transcript"]
