"""Scoring, statistics, result rows, tables, pages and plots."""
