"""Upstreams: loading them through s3prl, and the Whisper encoder."""
