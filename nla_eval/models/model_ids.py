"""Compares model names from different programs: "hf/Qwen/Qwen2.5-7B-Instruct" is "qwen/qwen2.5-7b-instruct"."""

from __future__ import annotations

_NOBODY = "none"
"""Part of the name that Inspect uses for no model: "none/none"."""


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two names mean the same model. Case, revision and a provider prefix are ignored.

    A provider or owner may be missing on one side ("smollm2-135m" and "nla/smollm2-135m"). If both names have one, they
    must agree.
    """
    a, b = _parts(one), _parts(other)
    shorter = min(len(a), len(b))
    return shorter > 0 and a[-1] != _NOBODY and a[-shorter:] == b[-shorter:]


def _parts(name: str | None) -> list[str]:
    return [part for part in (name or "").split("@", 1)[0].strip().lower().split("/") if part]
