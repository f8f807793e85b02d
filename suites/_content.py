"""Reads the suites' own texts from YAML files below `suites/data`, and makes chat messages from them.

In: a file or folder name. Out: plain values, and chat messages whose ids are the same on every load. It knows no
suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from nla_eval.cards import yaml_file
from nla_eval.errors import InputError
from nla_eval.sources import message_id
from nla_eval.transcript import Arm, Provenance, Transcript

DATA = Path(__file__).resolve().parent / "data"
OWN = Provenance(source="nla_eval, written for this suite", licence="Apache-2.0")
"""Provenance of texts written by hand in this repository."""

_ROLES: Mapping[str, type[ChatMessageSystem] | type[ChatMessageUser] | type[ChatMessageAssistant]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


def read_yaml(path: Path) -> Any:
    """Contents of one file. Raises InputError naming the file if it is missing or not YAML."""
    try:
        return yaml_file.read_yaml(path)
    except OSError as err:
        raise InputError(f"suite data {path.name}: {err.strerror}; reinstall nla_eval") from err
    except yaml_file.YAMLError as err:
        raise InputError(f"suite data {path.name}: not YAML: {str(err).splitlines()[0]}; reinstall nla_eval") from err


def read_folder(name: str) -> Iterator[tuple[str, Any]]:
    """(key, value) pairs of every file in a folder below `data`: files in alphabetical order, keys in file order.

    Raises:
        InputError: Two files have the same key.
    """
    seen: set[str] = set()
    for path in sorted((DATA / name).glob("*.yaml")):
        for key, value in read_yaml(path).items():
            if key in seen:
                raise InputError(f"suite data {path.name}: another file of the folder also has '{key}'; rename one")
            seen.add(key)
            yield key, value


def chat(transcript_id: str, said: Sequence[tuple[str, str]]) -> list[ChatMessage]:
    """Chat messages from (role, text) pairs."""
    return [_ROLES[role](content=text, id=message_id(transcript_id, n)) for n, (role, text) in enumerate(said)]


def talk(written: str | list[dict[str, str]]) -> list[tuple[str, str]]:
    """(role, text) pairs from a file's entry: one user message, or a list of one-key mappings from role to text."""
    if isinstance(written, str):
        return [("user", written)]
    return [(role, text) for turn in written for role, text in turn.items()]


def by_kind(kinds: Iterable[tuple[str, Any]], suite: str, arm: Arm) -> Iterator[Transcript]:
    """Prompts from (kind, items), round-robin over kinds. The kind is the family."""
    families = list(kinds)
    for number in range(max(len(items) for _, items in families)):
        for family, items in families:
            if number < len(items):
                name = f"{family}-{number + 1:02}"
                messages = chat(name, talk(items[number]))
                yield Transcript(id=name, messages=messages, arm=arm, suite=suite, family=family, provenance=OWN)
