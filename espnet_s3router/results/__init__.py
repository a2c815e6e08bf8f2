"""Scores, comparisons and pages of results, from experiment folders and tables of results alone."""
