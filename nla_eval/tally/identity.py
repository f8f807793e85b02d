"""What must agree before two inputs may be tallied together: target, pack, policy, draws, seed and the like.

In: what logs and stores record. Inputs that differ are tallied apart, never pooled and never refused. A field that an
older input does not record is None and takes the value of the one identity that agrees with it in all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .types_base import Frozen


class Identity(Frozen):
    """How readings were made."""

    target: str | None = None
    """Target hash."""
    pack: str | None = None
    policy: str | None = None
    """Position policy with its number of positions."""
    preset: str | None = None
    draws: int | None = None
    """Explanations per position of the measured lane."""
    seed: int | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None
    window: str | None = None

    def fits(self, other: Identity) -> bool:
        """Whether no field that both record differs."""
        return not self.differs(other)

    def differs(self, other: Identity) -> list[str]:
        """Fields that both record and that differ."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in type(self).model_fields)
        return [name for name, mine, its in pairs if mine is not None and its is not None and mine != its]

    def described(self, fields: Iterable[str]) -> str:
        """Some fields as words: "draws 4, temperature 0.7"."""
        return ", ".join(f"{name} {_short(getattr(self, name))}" for name in fields)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Identity:
        """From the facts that a log keeps of its instrument, or the identity of a store; both name things alike."""
        target = facts.get("target")
        return cls(
            target=str(target).rpartition("@")[2] if target else None,
            pack=facts.get("pack") or None,
            policy=facts.get("positions") or None,
            preset=facts.get("preset") or None,
            seed=_number(int, facts.get("seed")),
            temperature=_number(float, facts.get("temperature")),
            max_new_tokens=_number(int, facts.get("max_new_tokens")),
            window=facts.get("window") or None,
        )


def unified(identities: Iterable[Identity]) -> dict[Identity, Identity]:
    """The identity that each one is tallied under: itself, or the one it leaves fields open of."""
    distinct = sorted({*identities}, key=lambda i: (_open(i), i.model_dump_json()))
    kept: list[Identity] = []
    found: dict[Identity, Identity] = {}
    for one in distinct:
        fitting = [other for other in kept if one.fits(other)]
        if len(fitting) == 1 and _open(one):
            found[one] = fitting[0]
        else:
            kept.append(one)
            found[one] = one
    return found


def distinguishing(identities: Iterable[Identity]) -> list[str]:
    """Fields in which identities differ from each other."""
    several = list(identities)
    return [name for name in Identity.model_fields if len({getattr(i, name) for i in several}) > 1]


def _open(identity: Identity) -> int:
    return sum(getattr(identity, name) is None for name in type(identity).model_fields)


def _number(kind: type[int] | type[float], value: Any) -> Any:
    try:
        return None if value is None else kind(value)
    except (TypeError, ValueError):
        return None


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "not recorded" if value is None else str(value)
