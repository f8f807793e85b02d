"""Registers the Inspect provider `nla/<target>`. Its implementation is imported when a model is first requested."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi


@modelapi(name="nla")
def nla() -> type[ModelAPI]:
    """`--model nla/smollm2-135m`, `nla//folder` or `nla/owner/name`. Its arguments: `target_api.NLATargetAPI`."""
    from .target_api import NLATargetAPI

    return NLATargetAPI
