"""Asterisk core sounds: recorded prompts in five languages. ``prepare`` makes the datasets of one language."""
