"""Trains NLA packs, from the corpus to the exported pack and its card."""
