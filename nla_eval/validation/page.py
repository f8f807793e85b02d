"""The blind labelling page: one HTML file that works from disk, without a network and without a verdict in it.

Its content-security policy allows exactly the style and the script below, by their hashes. Texts and rubric travel as
JSON in a data block and reach the page as text nodes, so that hostile texts stay text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from ..judgement import Label, Rubric
from ..judging.error_rates import Kind
from .sample import Sheet

UNCLEAR = "unclear"
"""The label of a text that a person cannot decide."""
_QUESTIONS: Mapping[Kind, str] = {
    "explanation": "An explanation of an activation. What does it say of the model's situation?",
    "turn": "A part of an assistant turn. What does the assistant say of its own situation?",
}


def page_html(sheet: Sheet, texts: Mapping[str, str], rubric: Rubric) -> str:
    """The page for a sheet.

    Args:
        sheet: What was drawn. Only its id, kinds and order reach the page.
        texts: The text of each item, by id.
        rubric: Whose labels are offered, with their rules beside.
    """
    data = {
        "sheet": sheet.id,
        "labels": _labels(rubric),
        "questions": _QUESTIONS,
        "items": [{"id": item.id, "kind": item.kind, "text": texts[item.id]} for item in sheet.items],
    }
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return _asset("page.html").format(
        policy=policy,
        style=style,
        script=script,
        data=_json(data),
        title=html.escape(f"{len(sheet.items)} texts to label, sheet {sheet.id}"),
    )


def _labels(rubric: Rubric) -> list[dict[str, Any]]:
    found = [
        {
            "name": label.value,
            "key": key,
            "means": rubric.labels[label].means,
            "counts": rubric.labels[label].counts,
            "not": rubric.labels[label].does_not_count,
        }
        for label, key in zip(_ordered(), _keys(), strict=True)
    ]
    return [*found, {"name": UNCLEAR, "key": "u", "means": rubric.unclear, "counts": [], "not": []}]


def _ordered() -> list[Label]:
    """Labels as the page offers them: "none" first, because most texts are."""
    return [Label.NONE, *(label for label in Label if label is not Label.NONE)]


def _keys() -> Sequence[str]:
    """A key for each label: digits, then letters."""
    return "0123456789qwertyiop"[: len(Label)]


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip("\n")


def _hash(content: str) -> str:
    """A source expression of CSP 3 for inline content: the hash of exactly what stands between the tags."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _json(data: Any) -> str:
    """JSON that no parser of HTML can leave: `<`, `>` and `&` are escaped, and everything beyond ASCII."""
    text = json.dumps(data, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
