"""Replay: a transcript rendered with the target's own chat template, and the positions to read in it."""
