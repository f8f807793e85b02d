"""Engines run weights: the protocol, and its implementation on transformers."""
