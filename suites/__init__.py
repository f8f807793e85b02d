"""Task files: each suite with its card, run by path or by registry name."""
