"""Common Voice: read speech of many speakers in many languages. ``prepare`` makes the datasets of one language."""
