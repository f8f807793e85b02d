"""Writes a run's checkpoints as a pack, and packs in the public NLA format."""
