"""A suite's card: one YAML file beside the suite's module, checked."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import InputError
from ..printable import first_fault
from .arm import Arm
from .choices import SuiteData
from .design import Design
from .needs import AnswersBy, Needs
from .yaml_file import read_yaml

SLUG = re.compile(r"[a-z][a-z0-9_]*")
"""A suite's name."""


class SuiteCard(BaseModel):
    """What a reader must know about a suite before trusting a rate on it. One YAML file beside the suite's module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Name of the suite and of its task, a slug."""
    title: str
    arm: Arm
    source: str
    """What the transcripts were made from, with its version or revision."""
    licence: str
    """Licence of the source: an SPDX id or a short statement."""
    families: str
    """The rule that groups transcripts into prompt families. Families are the clusters of every interval."""
    needs: Needs
    install: str = ""
    """The command that installs the package the suite needs; empty if it needs none."""
    count: int | None = Field(default=None, ge=1)
    """Number of transcripts; None if it depends on the user's files."""
    answers_by: AnswersBy
    notes: list[str] = Field(default_factory=list)
    """Known pitfalls: selection, format, imbalance."""
    family_count: int | None = Field(default=None, ge=1)
    """Number of prompt families; None if not counted."""
    design: Design | None = None
    """How to compare the suite's variants within families; None if they are not compared."""
    version: str = Field(default="1-A", pattern=r"^\d+-[A-Z]$")
    """As in inspect_evals: the number changes if rates are not comparable with before, the letter if options change."""
    data: SuiteData | None = None
    """Where the transcripts are stored, for a suite without code of its own (`nla-eval suite add`)."""

    @field_validator("name")
    @classmethod
    def _slug(cls, name: str) -> str:
        if not SLUG.fullmatch(name):
            raise ValueError(f"'{name}' is not a slug of lower-case letters, digits and underscores")
        return name

    @classmethod
    def load(cls, path: Path) -> SuiteCard:
        """Read a card. Raises InputError with the file name and the first mistake in it."""
        try:
            return cls.model_validate(read_yaml(path))
        except OSError as err:
            raise InputError(f"suite card {path.name}: {err.strerror}; a suite needs a card beside its module") from err
        except yaml.YAMLError as err:
            raise InputError(f"suite card {path.name}: not YAML: {str(err).splitlines()[0]}; correct it") from err
        except ValidationError as err:
            fault, keys = first_fault(err, "the card"), ", ".join(cls.model_fields)
            raise InputError(f"suite card {path.name}: {fault}; its keys are {keys}") from err


def card_beside(module_file: str) -> SuiteCard:
    """The card of a suite module: the YAML file of the same name."""
    return SuiteCard.load(Path(module_file).resolve().with_suffix(".yaml"))
