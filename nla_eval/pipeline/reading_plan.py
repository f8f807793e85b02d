"""`ReadingPlan`: declares every option of a reading run, once.

In: values from Python, or text from a command line or `-T`. Out: a checked plan. An option has the same name in Python,
as `--name`, as `-T name=` and in a store's identity. A check imports what it needs only when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ..errors import InputError
from ..readings import LANES, READABLE, Lane, lanes_in
from .options import check_all, checked, declared, known_only, number, one_of, option, true_or_false, whole_number
from .presets import DEFAULT_PRESET, PRESETS, OfPreset


def _positions(value: Any) -> str:
    from ..replay.positions import parse_policy

    return str(parse_policy(str(value)))


def _window(value: Any) -> str:
    from ..replay.types import WINDOW_POLICIES, window_policy

    return str(one_of(lambda: WINDOW_POLICIES, "window")(window_policy(str(value))))


def _controls() -> str:
    """The control lanes, each with what is read in it."""
    return ", ".join(f"{lane} ({LANES[lane].meaning})" for lane in READABLE[1:])


def _lanes(value: Any) -> tuple[Lane, ...]:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
    lanes = tuple(Lane(one_of(lambda: READABLE, "lane")(name)) for name in names)
    scores = bool(lanes) and not any(LANES[lane].explained for lane in lanes)
    if len(set(lanes)) != len(lanes) or not (scores or Lane.MEASURED in lanes):
        raise ValueError("'measured', and each control at most once; lanes of scores may stand alone")
    return lanes


def _words(value: Any) -> str | None:
    if value is not None and not str(value).strip():
        raise ValueError("a name")
    return None if value is None else str(value)


_preset = one_of(lambda: tuple(PRESETS), "preset")


def _storages() -> tuple[str, ...]:
    from ..store.rows import ActivationStorage

    return get_args(ActivationStorage)


@dataclass(frozen=True)
class ReadingPlan:
    """How transcripts are read. It has every option that changes a reading; batch sizes change none.

    Values may be given as text, as on the command line: `ReadingPlan(lanes="measured,mean")`.

    Raises:
        InputError: One line with the option, its value and what was expected; or an option that lacks its lane, or a
            lane its option.
    """

    positions: str = option(
        OfPreset(PRESETS[DEFAULT_PRESET].reading["positions"]),
        "Positions to read: a policy and the number of positions per transcript.",
        _positions,
        former=("policy",),
    )
    window: str = option(
        "head", "If a transcript exceeds the context: keep its head, keep its tail, or skip it.", _window
    )
    draws: int = option(1, "Explanations drawn per activation.", whole_number(1), shared=False)
    lanes: tuple[Lane, ...] = option(
        (Lane.MEASURED, Lane.DONOR), f"Lanes to read: measured, and any of {_controls()}.", _lanes, shared=False
    )
    seed: int = option(0, "Random seed of positions, controls and draws.", whole_number(0))
    temperature: float = option(1.0, "Sampling temperature of the verbalizer; 0 = greedy.", number(0))
    max_new_tokens: int | None = option(
        None, "Token cap of each explanation. Default: the pack's.", whole_number(1, optional=True), metavar="<int>"
    )
    activations: str = option(
        "float32", "Dtype for storing activations: float32, float16, bfloat16 or none.", one_of(_storages)
    )
    text_reader: str | None = option(
        None,
        "Who writes the text_only lane: a chat model such as openai/gpt-5-mini or nla/smollm2-135m. Default: the "
        "pack's text_only adapter.",
        _words,
        shared=False,
    )
    probe: str | None = option(
        None, "Probe file of the probe lane, made by nla-eval probe train.", _words, shared=False
    )
    target_is_author: bool = option(
        False,
        "true: the logs are of the target, whatever model name they give; assistant turns count as the target's own.",
        true_or_false,
        shared=False,
    )

    preset: str = option(
        DEFAULT_PRESET,
        "Protocol to follow: strict, paper or mythos5; other options override it.",
        _preset,
        shared=False,
    )

    def __post_init__(self) -> None:
        for name, value in PRESETS[checked("preset", self.preset, _preset)].reading.items():
            if isinstance(getattr(self, name), OfPreset):
                object.__setattr__(self, name, value)
        check_all(self)
        if Lane.PROBE in self.lanes and self.probe is None:
            raise InputError(LANES[Lane.PROBE].lacking)
        for name, lane in (("text_reader", Lane.TEXT_ONLY), ("probe", Lane.PROBE)):
            if getattr(self, name) is not None and lane not in self.lanes:
                raise InputError(f"{name} has no effect without lane {lane}; add {lane} to lanes, or leave {name} out")

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> ReadingPlan:
        """Make a plan from options by name. Raises InputError for an unknown name or a wrong value."""
        known_only(words, declared(cls))
        return cls(**words)

    def plain(self) -> dict[str, Any]:
        """Options by name as plain values, for a log and for `-T`. `of` reads them back."""
        values = {name: getattr(self, name) for name in declared(type(self))}
        return {name: [str(v) for v in value] if isinstance(value, tuple) else value for name, value in values.items()}

    def lanes_of(self, arm: str) -> tuple[Lane, ...]:
        """The lanes read in transcripts of one arm."""
        return lanes_in(self.lanes, arm)

    def draws_of(self, lane: Lane, first: int = 0) -> range:
        """Numbers of the readings of a lane at one position, from `first` on: one if its text cannot differ, none if
        it holds scores."""
        entry = LANES[lane]
        if not entry.explained:
            return range(0)
        return range(first, first + self.draws) if entry.repeats else range(1)
