"""Names of one model as different programs write them: "hf/Qwen/Qwen2.5-7B-Instruct" is "qwen/qwen2.5-7b-instruct"."""

from __future__ import annotations

_NOBODY = "none"
"""What Inspect calls a model where there is none: "none/none"."""


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two names are of one model: equal but for case, a revision, and what stands before the name.

    A provider or an owner may be missing on one side ("smollm2-135m" and "nla/smollm2-135m"); where both have one
    they must agree.
    """
    a, b = _parts(one), _parts(other)
    shorter = min(len(a), len(b))
    return shorter > 0 and a[-1] != _NOBODY and a[-shorter:] == b[-shorter:]


def _parts(name: str | None) -> list[str]:
    return [part for part in (name or "").split("@", 1)[0].strip().lower().split("/") if part]
