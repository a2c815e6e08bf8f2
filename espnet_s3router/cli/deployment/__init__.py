"""Commands about smaller models: `count` and `shrink`."""
