"""The Inspect provider `nla/<target>`, as a name: what it is made of is imported when a model is first asked for."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi


@modelapi(name="nla")
def nla() -> type[ModelAPI]:
    """`--model nla/smollm2-135m`, `nla//folder` or `nla/owner/name`; arguments are `_target_api.NLATargetAPI`'s."""
    from .target_api import NLATargetAPI

    return NLATargetAPI
