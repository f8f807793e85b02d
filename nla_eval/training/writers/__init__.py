"""Writers of warm-start explanations: one protocol, one registry, one file each."""

from . import file, inspect_model, plain, self_supervised
from .base import WRITERS, Request, Writer, WriterContext, Written

__all__ = [
    "WRITERS",
    "Request",
    "Writer",
    "WriterContext",
    "Written",
    "file",
    "inspect_model",
    "plain",
    "self_supervised",
]
