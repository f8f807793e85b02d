"""Reads the suites' own texts: YAML files below `suites/data`, and turns lines of talk into messages.

In: a file or folder name. Out: plain values, and chat messages with ids that are the same on every load. It knows no
suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from nla_eval.errors import InputError
from nla_eval.sources import message_id
from nla_eval.transcript import Arm, Provenance, Transcript

DATA = Path(__file__).resolve().parent / "data"
OWN = Provenance(source="nla_eval, written for this suite", licence="Apache-2.0")
"""Where texts come from that were written by hand in this repository."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is 10 times faster on these files, where it is there
_ROLES: Mapping[str, type[ChatMessageSystem] | type[ChatMessageUser] | type[ChatMessageAssistant]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


def read_yaml(path: Path) -> Any:
    """One file. Raises InputError naming the file when it is missing or no YAML."""
    try:
        return yaml.load(path.read_bytes(), Loader=_LOADER)  # both loaders are safe ones
    except OSError as err:
        raise InputError(f"suite data {path.name}: {err.strerror}; reinstall nla_eval") from err
    except yaml.YAMLError as err:
        raise InputError(f"suite data {path.name}: not YAML: {str(err).splitlines()[0]}") from err


def read_folder(name: str) -> Iterator[tuple[str, Any]]:
    """(key, value) of every file in a folder below `data`, files in alphabetical order, keys as written.

    Raises:
        InputError: A key stands in two files.
    """
    seen: set[str] = set()
    for path in sorted((DATA / name).glob("*.yaml")):
        for key, value in read_yaml(path).items():
            if key in seen:
                raise InputError(f"suite data {path.name}: '{key}' is in another file of the folder, too; rename one")
            seen.add(key)
            yield key, value


def chat(transcript_id: str, said: Sequence[tuple[str, str]]) -> list[ChatMessage]:
    """Messages of (role, text) pairs."""
    return [_ROLES[role](content=text, id=message_id(transcript_id, n)) for n, (role, text) in enumerate(said)]


def talk(written: str | list[dict[str, str]]) -> list[tuple[str, str]]:
    """(role, text) of what a file holds: one user's message, or a list of one-key mappings from role to text."""
    if isinstance(written, str):
        return [("user", written)]
    return [(role, text) for turn in written for role, text in turn.items()]


def by_kind(kinds: Iterable[tuple[str, Any]], suite: str, arm: Arm) -> Iterator[Transcript]:
    """Prompts of (kind, items), the kind as family: one of each kind, then a second of each, and so on."""
    families = list(kinds)
    for number in range(max(len(items) for _, items in families)):
        for family, items in families:
            if number < len(items):
                name = f"{family}-{number + 1:02}"
                messages = chat(name, talk(items[number]))
                yield Transcript(id=name, messages=messages, arm=arm, suite=suite, family=family, provenance=OWN)
