"""Data preparation of each corpus, shared by the recipes: library functions with a thin command line."""
