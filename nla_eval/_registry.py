"""What Inspect imports through the entry point: registers the provider, solvers, scorers and tasks.

Loaded in every Inspect command, so nothing here may import torch or transformers."""

from . import awareness, providers, scoring
from ._rooms import load_room

__all__ = ["awareness", "providers", "scoring"]

load_room("suites")
