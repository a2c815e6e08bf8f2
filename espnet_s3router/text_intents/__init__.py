"""Intents from transcripts: the methods of this package on a text model of Hugging Face. No audio and no ESPnet."""
