"""Smaller models: units that gates closed are removed from an upstream, and the file that holds what is left."""
