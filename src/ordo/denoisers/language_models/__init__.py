"""Denoisers that start from language models of Hugging Face."""
