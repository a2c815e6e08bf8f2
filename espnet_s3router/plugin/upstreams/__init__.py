"""Upstreams: loading them through s3prl, and our Whisper encoder."""
