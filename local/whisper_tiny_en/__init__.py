"""Whisper tiny.en: download, and conversion for transformers."""
