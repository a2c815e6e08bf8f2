"""Upstream families as data, and the upstreams of this package. Imports neither s3prl nor ESPnet."""

from pathlib import Path

from espnet_s3router.upstreams.families import FAMILIES, TARGETS, Family, family_of, layer_indices

EMBEDDED = {"s3router_hubert_mini": ("hf_hubert_custom", Path(__file__).parent / "weights" / "hubert_mini")}
"""Upstreams inside the package: name -> (s3prl entry, folder)."""

__all__ = ["EMBEDDED", "FAMILIES", "TARGETS", "Family", "family_of", "layer_indices"]
