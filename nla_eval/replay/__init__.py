"""Replay: renders a transcript with the target's own chat template and chooses the positions to read."""
