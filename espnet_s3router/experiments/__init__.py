"""Training runs of a recipe: one run, a grid of runs, a pruning sweep."""
