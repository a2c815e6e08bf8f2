"""A module for jobs of tests: its ``main`` runs a piece of Python code."""


def main(arguments):
    exec(arguments[0], {"__name__": "job"})
