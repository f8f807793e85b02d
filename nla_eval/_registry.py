"""What Inspect imports through the entry point: registers the provider, solvers, scorers and tasks.

Loaded in every Inspect command, so nothing here may import torch or transformers."""

from . import awareness
from ._rooms import load_room
from .inspect_ext import provider as providers
from .inspect_ext import scorer as scoring

__all__ = ["awareness", "providers", "scoring"]

load_room("suites")
