"""Synthetic tasks whose law is known exactly, and puzzles."""
