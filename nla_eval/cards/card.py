"""A suite's card: one YAML file beside the suite's module, checked."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import InputError
from .arm import Arm
from .choices import SuiteData
from .design import Design
from .file import read_yaml
from .needs import AnswersBy, Needs

SLUG = re.compile(r"[a-z][a-z0-9_]*")
"""A suite's name."""


class SuiteCard(BaseModel):
    """What a reader must know of a suite before believing a rate on it. One YAML file beside the suite's module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Slug: the suite's and its task's name."""
    title: str
    arm: Arm
    source: str
    """What the transcripts are made from, with version or revision."""
    licence: str
    """SPDX id or a short statement, of the source."""
    families: str
    """The rule that puts transcripts into prompt families, the clusters of every interval."""
    needs: Needs
    install: str = ""
    """The command that provides what is needed, where a package is."""
    count: int | None = Field(default=None, ge=1)
    """Transcripts in the suite; none where that is up to the user's files."""
    answers_by: AnswersBy
    notes: list[str] = Field(default_factory=list)
    """What may mislead: selection, format, known imbalance."""
    family_count: int | None = Field(default=None, ge=1)
    """How many families the transcripts fall into, where it was counted."""
    design: Design | None = None
    """How its variants are to be compared within families, where they are."""
    data: SuiteData | None = None
    """Where the transcripts lie, for a suite whose module has no code of its own (`nla-eval suite add`)."""

    @field_validator("name")
    @classmethod
    def _slug(cls, name: str) -> str:
        if not SLUG.fullmatch(name):
            raise ValueError(f"'{name}' is not a slug of lower-case letters, digits and underscores")
        return name

    @classmethod
    def load(cls, path: Path) -> SuiteCard:
        """Read a card. Raises InputError naming the file and the first thing wrong."""
        try:
            return cls.model_validate(read_yaml(path))
        except OSError as err:
            raise InputError(f"suite card {path.name}: {err.strerror}; every suite file has a card beside it") from err
        except yaml.YAMLError as err:
            raise InputError(f"suite card {path.name}: not YAML: {str(err).splitlines()[0]}") from err
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the card"
            keys = ", ".join(cls.model_fields)
            raise InputError(f"suite card {path.name}: {where}: {first['msg']}; its keys are {keys}") from err


def card_beside(module_file: str) -> SuiteCard:
    """The card of a suite module: the YAML file of the same name."""
    return SuiteCard.load(Path(module_file).resolve().with_suffix(".yaml"))
