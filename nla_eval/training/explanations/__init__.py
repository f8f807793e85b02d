"""Warm-start explanations: what is known of a position, put into sentences."""
