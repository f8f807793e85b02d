"""Control lanes: each injects a stand-in instead of a position's own activation, so that rates have a control.

`donor` injects a deployment activation matched on position, channel and token class. `gaussian` and `mean` keep only
the moments of real activations. `no_injection` leaves the slot empty. Donors are chosen from metadata alone, and every
choice is keyed by the slot, so batches and order never matter."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..readings import Lane
from ..transcript import Arm

_REJECTIONS = 32
_MAX_ROWS = 4096


class TokenClass(StrEnum):
    """Kind of token, defined by its text so that it is the same for every tokenizer."""

    WORD_START = "word_start"
    WORD_PIECE = "word_piece"
    NUMBER = "number"
    PUNCTUATION = "punctuation"
    WHITESPACE = "whitespace"
    NEWLINE = "newline"


class MatchLevel(StrEnum):
    """How closely a donor matches its slot. Levels are tried in this order."""

    EXACT = "exact"
    """Position bin, channel and token class."""
    ANY_POSITION = "any_position"
    """Channel and token class."""
    CHANNEL_ONLY = "channel_only"
    CLASS_ONLY = "class_only"
    UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class Site:
    """One sampled position, with the fields that lanes match on and readings record."""

    transcript_digest: str
    transcript_id: str
    suite: str
    arm: Arm
    family: str
    position: int
    """Token index in the full replay."""
    message: int
    role: str
    channel: str
    turn: int
    token: str
    """Rendered text of the token."""
    context: str
    """Rendered text that ends with the token."""
    token_class: TokenClass

    @property
    def key(self) -> tuple[str, int]:
        """(transcript digest, position): unique within a run."""
        return self.transcript_digest, self.position


@dataclass(frozen=True)
class Donor:
    """The site that lends its activation to a slot."""

    site: Site
    level: MatchLevel

    @property
    def name(self) -> str:
        """Name as in `Reading.donor`: "transcript_id:position"."""
        return f"{self.site.transcript_id}:{self.site.position}"


def token_class(token: str, before: str) -> TokenClass:
    """Classify a token by its rendered text.

    Args:
        token: The token's characters; may be empty for a byte inside a character.
        before: The character before the token, or "".
    """
    core = token.strip()
    if not core:
        if "\n" in token:
            return TokenClass.NEWLINE
        return TokenClass.WHITESPACE if token else TokenClass.WORD_PIECE
    if all(c.isnumeric() or c in ".," for c in core) and any(c.isnumeric() for c in core):
        return TokenClass.NUMBER
    if not any(c.isalnum() for c in core):
        return TokenClass.PUNCTUATION
    starts = token[0].isspace() or not (before and before.isalnum())
    return TokenClass.WORD_START if starts else TokenClass.WORD_PIECE


def position_bin(position: int) -> int:
    """Octave of a token index: 0 below 64, 1 below 128, 2 below 256 and so on."""
    return (position // 64).bit_length()


def keyed_rng(*parts: object) -> np.random.Generator:
    """A random generator seeded by `parts` alone."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "backslashreplace")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


class DonorPool:
    """Deployment sites that may lend their activation to other sites.

    Args:
        sites: Sites of any arm, in any order; only those of the deployment arm are kept.
    """

    def __init__(self, sites: Iterable[Site]) -> None:
        self._sites = sorted((s for s in sites if s.arm == Arm.DEPLOYMENT), key=lambda s: s.key)
        self._by_level: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for index, site in enumerate(self._sites):
            for level_key in _level_keys(site):
                self._by_level[level_key].append(index)

    def __len__(self) -> int:
        return len(self._sites)

    def choose(self, slot: Site, seed: int) -> Donor | None:
        """Choose the donor of `slot` from another transcript and family, at the closest match level that has one.

        All draws of a slot share one donor, as they share one activation in the measured lane. Returns None if every
        deployment site belongs to the slot's own transcript or family.
        """
        rng = keyed_rng("donor", slot.transcript_digest, slot.position, seed)
        for level_key in _level_keys(slot):
            candidates = self._by_level.get(level_key, ())
            index = self._draw(candidates, slot, rng)
            if index is not None:
                return Donor(self._sites[index], MatchLevel(str(level_key[0])))
        return None

    def match_levels(self, slots: Iterable[Site], seed: int) -> Counter[str]:
        """How many `slots` find a donor at each level; "none" counts those that find none."""
        donors = (self.choose(slot, seed) for slot in slots)
        return Counter(donor.level.value if donor else "none" for donor in donors)

    def _draw(self, candidates: Sequence[int], slot: Site, rng: np.random.Generator) -> int | None:
        # Rejection sampling first: few sites are of the slot's family, and filtering the pool per slot is quadratic.
        for _ in range(_REJECTIONS if candidates else 0):
            index = candidates[int(rng.integers(len(candidates)))]
            if _eligible(self._sites[index], slot):
                return index
        eligible = [index for index in candidates if _eligible(self._sites[index], slot)]
        return eligible[int(rng.integers(len(eligible)))] if eligible else None


def _eligible(donor: Site, slot: Site) -> bool:
    return donor.transcript_digest != slot.transcript_digest and donor.family != slot.family


def _level_keys(site: Site) -> list[tuple[object, ...]]:
    return [
        (MatchLevel.EXACT, position_bin(site.position), site.channel, site.token_class),
        (MatchLevel.ANY_POSITION, site.channel, site.token_class),
        (MatchLevel.CHANNEL_ONLY, site.channel),
        (MatchLevel.CLASS_ONLY, site.token_class),
        (MatchLevel.UNMATCHED,),
    ]


@dataclass(frozen=True)
class ActivationMoments:
    """Mean and Ledoit-Wolf-shrunk covariance of activations, stored as the centred rows.

    A draw never forms the (d, d) covariance. With n centred rows X, shrinkage s and mean variance v, the vector
    mean + sqrt((1 - s) / n) z X + sqrt(s v) e with standard normal z (n,) and e (d,) has exactly that covariance.
    Isotropic noise would not do: real activations are dominated by a few dimensions.
    """

    mean: NDArray[np.float64]
    """(d,)"""
    centred: NDArray[np.float64] = field(repr=False)
    """(n, d)"""
    shrinkage: float
    """In [0, 1] (Ledoit and Wolf 2004)."""

    @classmethod
    def fit(cls, activations: NDArray[np.float32], seed: int = 0) -> ActivationMoments:
        """Fit to `activations` (n, d); if n exceeds 4,096, to a random 4,096 of them.

        Raises:
            InputError: Fewer than two activations.
        """
        if len(activations) < 2:
            raise InputError(
                f"the gaussian and mean lanes need at least 2 activations, got {len(activations)}; "
                "read more positions or leave these lanes out"
            )
        from sklearn.covariance import ledoit_wolf_shrinkage

        rows = activations
        if len(rows) > _MAX_ROWS:
            rows = rows[np.sort(keyed_rng("moments", seed).choice(len(rows), _MAX_ROWS, replace=False))]
        wide = rows.astype(np.float64)
        mean = wide.mean(axis=0)
        centred = wide - mean
        return cls(mean, centred, float(ledoit_wolf_shrinkage(centred, assume_centered=True)))

    def draw(self, *key: object) -> NDArray[np.float32]:
        """Draw one vector (d,). Its random numbers depend on `key` alone."""
        rng = keyed_rng("gaussian", *key)
        n, d = self.centred.shape
        along = rng.standard_normal(n) @ self.centred * np.sqrt((1.0 - self.shrinkage) / n)
        variance = float((self.centred**2).sum()) / (n * d)
        around = rng.standard_normal(d) * np.sqrt(self.shrinkage * variance)
        drawn: NDArray[np.float32] = (self.mean + along + around).astype(np.float32)
        return drawn


@dataclass(frozen=True)
class StandIn:
    """The vector that a lane injects into a slot."""

    activation: NDArray[np.float32] | None
    """(d,); None if nothing is injected, or on error."""
    donor: str | None = None
    error: str | None = None


class ControlLanes:
    """The stand-ins of every lane for a fixed set of activations.

    Args:
        sites: All sites of the run, in any order.
        activations: Activation (d,) of each site by its key. Sites without a finite activation are neither donors nor
            part of the moments.
        seed: Seed of the run.
    """

    def __init__(
        self, sites: Iterable[Site], activations: Mapping[tuple[str, int], NDArray[np.float32]], seed: int
    ) -> None:
        self._activations = activations
        self._seed = seed
        self._sites = sorted((s for s in sites if self._usable(s) is not None), key=lambda s: s.key)
        self._pool = DonorPool(self._sites)

    def stand_in(self, slot: Site, lane: Lane) -> StandIn:
        """The stand-in that `lane` injects into `slot`. It is the same for every draw."""
        if lane not in MAKERS:
            raise InputError(f"lane '{lane}' is not read from activations; choose among {', '.join(MAKERS)}")
        return MAKERS[lane](self, slot)

    def match_levels(self, slots: Iterable[Site]) -> Counter[str]:
        """How many `slots` find a donor at each level; "none" counts those that find none."""
        return self._pool.match_levels(slots, self._seed)

    def _own(self, slot: Site) -> StandIn:
        own = self._usable(slot)
        return StandIn(own, error="the activation is missing or not finite" if own is None else None)

    def _donated(self, slot: Site) -> StandIn:
        donor = self._pool.choose(slot, self._seed)
        if donor is None:
            return StandIn(None, error="no donor: no deployment transcript of another family has an activation")
        return StandIn(self._activations[donor.site.key], donor=donor.name)

    def _drawn(self, slot: Site) -> StandIn:
        return StandIn(self._moments.draw(slot.transcript_digest, slot.position, self._seed))

    def _mean(self, slot: Site) -> StandIn:
        return StandIn(self._moments.mean.astype(np.float32))

    def _none(self, slot: Site) -> StandIn:
        return StandIn(None)

    def _usable(self, site: Site) -> NDArray[np.float32] | None:
        activation = self._activations.get(site.key)
        return activation if activation is not None and bool(np.isfinite(activation).all()) else None

    @cached_property
    def _moments(self) -> ActivationMoments:
        """Moments of the deployment arm, so that no evaluation leaks into a control; of all sites without that arm."""
        deployment = [s for s in self._sites if s.arm == Arm.DEPLOYMENT] or self._sites
        rows = np.stack([self._activations[s.key] for s in deployment]) if deployment else np.empty((0, 0), np.float32)
        return ActivationMoments.fit(rows, self._seed)


MAKERS: dict[Lane, Callable[[ControlLanes, Site], StandIn]] = {
    Lane.MEASURED: ControlLanes._own,
    Lane.DONOR: ControlLanes._donated,
    Lane.GAUSSIAN: ControlLanes._drawn,
    Lane.MEAN: ControlLanes._mean,
    Lane.NO_INJECTION: ControlLanes._none,
}
"""How to make each lane's stand-in. `readings.LANES` has everything else about a lane."""
