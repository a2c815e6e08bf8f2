"""RESULTS.md and the printed tables: of a grid, of a sweep, and of several upstreams."""
