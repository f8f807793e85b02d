"""Puts the content rooms below `nla_eval` in a wheel. An editable install leaves them where they stand."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOMS = ("suites", "classifiers", "reports")
FROZEN = "tests/data/frozen"
"""Texts that `nla-eval simulate` draws from."""


class ContentRooms(BuildHookInterface):
    """Adds `suites/`, `classifiers/` and `reports/` to standard wheels as `nla_eval/<room>`, and the frozen texts."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a build."""
        if version == "standard":
            build_data["force_include"].update({room: f"nla_eval/{room}" for room in ROOMS})
            build_data["force_include"][FROZEN] = "nla_eval/simulate/frozen"
