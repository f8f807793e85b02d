"""The setting adapter of a pack: a LoRA of the AV's base whose first line says what the prompt told the model of its
setting. It is read as the log-odds of that line's first word, so nothing is decoded (docs/method.md 4.17).

In: a folder beside the AV's own adapter. Out: an adapter, and the facts that turn logits into `setting_log_odds`. This
module loads no model; `engines.setting` reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError, PackError
from ..printable import first_fault
from .adapter import CONFIG, WEIGHTS, Adapter

FACTS = "nla_setting.json"
SETTING = "setting"
"""Folder of the setting adapter, in the AV's folder."""


UNTOLD_ABOVE = 0.05
"""Share of transcripts without a told notice that the threshold leaves above it, on the conversations that fix it."""


class SettingClass(StrEnum):
    """What a prompt says of the model's setting."""

    TOLD = "told"
    """That it is tested or evaluated."""
    REAL = "real"
    """That it is in real use."""
    OTHER = "other"
    """Another fact, tests of other things included."""
    NOTHING = "nothing"


PHRASES: Mapping[SettingClass, str] = {
    SettingClass.TOLD: "told it is a test",
    SettingClass.REAL: "real use",
    SettingClass.OTHER: "other facts",
    SettingClass.NOTHING: "nothing said",
}
"""What the line says of each class. No two begin with the same token."""


class Calibration(BaseModel):
    """How raw log-odds become `setting_log_odds`, and from where on a transcript is read aware."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: float = Field(default=1.0, gt=0)
    bias: float = 0.0
    """Log-odds are `slope` times the raw ones plus `bias`."""
    threshold: float = 0.0
    """A transcript is read aware if the mean of its log-odds is above this."""
    fitted_on: str = ""
    """Rows and transcripts that fixed these numbers, in words."""


class SettingFacts(BaseModel):
    """What `nla_setting.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_hash: str
    layer: int
    """K: it reads the output of block K."""
    opening: str = "Setting:"
    spaced: bool = True
    """Whether the space before a phrase belongs to the phrase's first token, as in most tokenizers, or to the
    opening."""
    phrases: Mapping[SettingClass, str] = Field(default_factory=lambda: dict(PHRASES))
    calibration: Calibration = Calibration()

    @classmethod
    def of(cls, tokenizer: Any, target_hash: str, layer: int) -> SettingFacts:
        """Facts of a new adapter, before calibration. Raises PackError if two classes share their first token."""
        made = cls(target_hash=target_hash, layer=layer)
        told = tokenizer.encode(f" {made.phrases[SettingClass.TOLD]}", add_special_tokens=False)
        made = made.model_copy(update={"spaced": told[0] != tokenizer.encode(" ", add_special_tokens=False)[0]})
        made.first_tokens(tokenizer)
        return made

    def opening_ids(self, tokenizer: Any) -> list[int]:
        """Token ids of the line up to its phrase."""
        ids: list[int] = tokenizer.encode(self.opening + ("" if self.spaced else " "), add_special_tokens=False)
        return ids

    def first_tokens(self, tokenizer: Any) -> dict[SettingClass, int]:
        """First token of each class's phrase. Raises PackError if two classes share one."""
        space = " " if self.spaced else ""
        found = {of: tokenizer.encode(space + said, add_special_tokens=False)[0] for of, said in self.phrases.items()}
        if len(set(found.values())) < len(found) or SettingClass.TOLD not in found:
            raise PackError(
                f"the setting adapter's classes {', '.join(map(repr, self.phrases.values()))} share a first token "
                "under this tokenizer, or lack 'told'; give each its own first word in "
                f"{FACTS}"
            )
        return found


@dataclass(frozen=True)
class Setting:
    """A pack's setting adapter."""

    name: str
    """Name of its pack."""
    path: Path

    @cached_property
    def facts(self) -> SettingFacts:
        """Its facts. Raises PackError if the file is missing or malformed."""
        file = self.path / FACTS
        try:
            return SettingFacts.model_validate_json(file.read_text(encoding="utf-8"))
        except OSError as err:
            raise PackError(
                f"pack '{self.name}': setting adapter without {FACTS} ({err.strerror}); restore the pack"
            ) from err
        except ValidationError as err:
            raise PackError(f"pack '{self.name}': {FACTS}: {first_fault(err)}; restore the pack") from err

    @property
    def adapter(self) -> Adapter:
        """Its LoRA. Raises InputError where its tensors are read, if they are no plain LoRA."""
        return Adapter(f"{self.name}/{SETTING}", self.path, 1.0)

    @cached_property
    def id(self) -> str:
        """Name and content hash."""
        digest = hashlib.sha256()
        for name in (FACTS, CONFIG, WEIGHTS):
            file = self.path / name
            if not file.is_file():
                raise PackError(f"pack '{self.name}': setting adapter without {name}; restore the pack")
            digest.update(file.read_bytes())
        return f"{self.name}/{SETTING}@{digest.hexdigest()[:12]}"

    def check(self, target_hash: str, layer: int) -> None:
        """Check that it reads this target's block. Raises PackError."""
        for what, own, asked in (
            ("target", self.facts.target_hash, target_hash), ("block", self.facts.layer, layer)
        ):  # fmt: skip
            if own != asked:
                raise PackError(
                    f"pack '{self.name}': its setting adapter reads {what} {own}, the pack reads {asked}; train it "
                    "for this pack with nla-eval setting train"
                )


def checked_setting(setting: Setting) -> int:
    """Number of adapted matrices, after reading every tensor. Raises PackError."""
    try:
        return len(setting.adapter.matrices)
    except InputError as err:
        raise PackError(f"pack '{setting.name}': {err}; restore the pack") from err
