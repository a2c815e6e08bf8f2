"""Kaldi-style data directories: audio, tables, formatting, filtering, speed perturbation and tokens."""
