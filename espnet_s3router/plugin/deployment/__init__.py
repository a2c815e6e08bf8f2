"""What is shipped of a trained run: its route as a file, and a model with the masks in its weights."""
