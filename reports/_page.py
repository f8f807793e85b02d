"""What every page of this room shares: the template environment, and the scripts with their hash for the policy."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

import jinja2

from nla_eval.readings import DISPLAYED

from . import _format as fmt

TEMPLATES = Path(__file__).parent / "templates"
_FILTERS = {
    "pct": fmt.percent,
    "num": fmt.number,
    "count": fmt.count,
    "interval": fmt.interval,
    "plain_interval": fmt.plain_interval,
    "level": fmt.level,
    "level_interval": fmt.level_interval,
    "difference": fmt.difference,
    "difference_interval": fmt.difference_interval,
    "bounds": fmt.bounds,
    "span": fmt.span,
    "p": fmt.p_value,
    "words": fmt.words,
    "lane_tag": lambda lane: DISPLAYED[lane].tag if lane in DISPLAYED else "",
    "counted": fmt.counted,
    "spoken": fmt.spoken,
    "visible": fmt.visible,
    "stacked": fmt.stacked,
}


@cache
def environment() -> jinja2.Environment:
    """The templates, with autoescape; control characters of every text that they print are made visible."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: fmt.visible(value) if type(value) is str else value,
    )
    found.filters.update(_FILTERS)
    return found


def scripts(*names: str) -> tuple[str, str]:
    """Scripts as one text, and its SHA-256 for the content security policy."""
    text = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)
    return text, base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
