"""Reads a card's YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

YAMLError = yaml.YAMLError
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, if installed, is 10 times faster


def read_yaml(path: Path) -> Any:
    """The content of a card's file. Raises OSError or `YAMLError`."""
    return yaml.load(path.read_bytes(), Loader=_LOADER)  # both loaders are safe ones
