"""Pretraining a HuBERT (arXiv 2106.07447) on one's own recordings; torch, torchaudio, scikit-learn and transformers only."""
