"""Reads a card's YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

YAMLError = yaml.YAMLError
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is 10 times faster, where it is there


def read_yaml(path: Path) -> Any:
    """What a card's file holds. Raises OSError or `YAMLError`."""
    return yaml.load(path.read_bytes(), Loader=_LOADER)  # both loaders are safe ones
