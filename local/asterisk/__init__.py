"""Asterisk core sounds: recorded prompts in five languages. ``prepare``: datasets of one language; ``families``: intents."""
