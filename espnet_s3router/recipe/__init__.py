"""What the recipe stages call: data directories, scoring, the results table, the sweep."""
