"""Audio and Kaldi-style data directories: read, check, format, filter, change the speed, make token lists."""
