"""Engines run weights: the protocol, and its implementations on transformers and vLLM."""
