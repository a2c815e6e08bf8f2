"""One run: train, decode, score, write its route; and what it began from."""
