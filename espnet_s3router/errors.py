"""Errors that are the user's to mend: what was got, what was expected, how to fix it."""


class InputError(ValueError):
    """Something given from outside (a file, an option, a checkpoint) cannot be used as it is."""
