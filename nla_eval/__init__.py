"""nla_eval measures evaluation awareness: how often a model represents that it is being tested, said or unsaid."""

from ._rooms import extend_path

__version__ = "0.1.0"

extend_path(__path__)
