"""Masked upstreams in espnet3 (ESPnet 202611 and later), which trains with Lightning. Nothing here works without it."""
