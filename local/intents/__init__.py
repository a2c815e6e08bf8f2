"""Corpora of spoken language understanding: Fluent Speech Commands, SLURP and SNIPS, with ESPnet's texts and keys."""
