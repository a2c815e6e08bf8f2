"""Pruning of finetuned weights: at once, in rounds, while they train, and with learned scores."""
