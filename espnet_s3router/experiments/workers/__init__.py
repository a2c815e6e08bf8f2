"""Runs side by side: jobs, the workers that run them, and the process they are forked from."""
