"""A card's file as plain values, by libyaml where it is there: ten times faster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """What the file holds. Raises OSError or yaml.YAMLError."""
    return yaml.load(path.read_bytes(), Loader=_LOADER)  # both loaders are safe ones
