"""Two tasks on one upstream: what is forgotten of one when the other is learned later, and the masks of one on the other."""
