"""Warm-start explanations: turns what is known about a position into text."""
