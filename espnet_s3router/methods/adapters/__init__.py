"""Adapters and other small additions to weights that stand still, and a finetuned model as signs."""
