"""Reads YAML that somebody else may have written: cards, sidecars, rubrics, configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

YAMLError = yaml.YAMLError
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml, if installed, is 10 times faster, and refuses deep nesting at once, which takes PyYAML's own loader seconds.
Both are safe loaders."""


def parse_yaml(text: str | bytes) -> Any:
    """The content of a YAML text. Raises `YAMLError`; without libyaml also RecursionError for deep nesting."""
    return yaml.load(text, Loader=_LOADER)


def read_yaml(path: Path) -> Any:
    """The content of a file. Raises OSError, or as `parse_yaml`."""
    return parse_yaml(path.read_bytes())
