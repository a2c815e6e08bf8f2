"""Data preparation of each corpus, shared by the recipes: library functions, thin command lines."""
