"""Commands that share models."""
