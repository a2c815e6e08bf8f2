"""Pretraining a HuBERT (arXiv 2106.07447) on any recordings, with torch, torchaudio, scikit-learn and transformers only."""
