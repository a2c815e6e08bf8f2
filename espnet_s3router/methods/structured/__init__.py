"""Structured pruning: gates on channels, attention heads and inner units, and the cost that they leave."""
