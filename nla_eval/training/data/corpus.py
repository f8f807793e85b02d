"""Builds the training corpus: masks and replays conversations, and samples positions. In: sources of chats and the
target's tokenizer. Out: one Parquet file of conversations with token ids and positions. It loads no weights.

Splits are by hash of the conversation's family, so that training, held-out and the shipped suites are disjoint. A
conversation that shares a long message with a suite is left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from inspect_ai.model import ChatMessage, ChatMessageSystem
from numpy.typing import NDArray

from ...dataset.redact import redact_messages
from ...errors import InputError, MissingExtraError, NlaEvalError
from ...files import write_frame
from ...models.pack import load_pack
from ...models.target import Target
from ...models.trained_on import HASHES, family_hash, trained_on
from ...replay.positions import parse_policy, sample_positions
from ...replay.replay import ReplayConfig, replay
from ...replay.types import Channel, Replay
from ...suite import family_bucket
from ...transcript import Arm, Provenance, Transcript
from ..config import CorpusConfig
from .base import Chat
from .chats import chats

_FEWEST = 4
"""Minimum number of positions; below it a conversation is not worth a forward pass."""
_LONG = 100


@dataclass(frozen=True)
class Conversation:
    """A replayed conversation with its positions."""

    name: str
    kind: str
    """Training source it came from."""
    family: str
    digest: str
    split: str
    """ "train" or "held_out"."""
    source: str
    licence: str
    replay: Replay
    positions: NDArray[np.int64]


def build_corpus(config: CorpusConfig, target: Target, seed: int) -> Iterator[Conversation]:
    """Yield conversations, source by source, until each source has its share of tokens and held-out conversations.

    One line per source prints the number of conversations left out, by reason.
    """
    opened = [chats(source) for source in config.sources]
    shares = sum(source.share for source in config.sources)
    taboo = suite_messages()
    known = _known(config.new_to) if config.new_to else frozenset[str]()
    for number, (source, found) in enumerate(zip(config.sources, opened, strict=True)):
        part = source.share / shares
        quota = _Quota(config, round(config.token_budget * part), max(1, round(config.held_out_conversations * part)))
        random = np.random.default_rng([seed, number])
        dropped: Counter[str] = Counter()
        for chat in _new_first(found, known):
            if quota.met:
                break
            made = _conversation(chat, target, _Draw(config, source.name, quota, seed, random, taboo))
            if isinstance(made, str):
                dropped[made] += 1
                continue
            quota.take(made)
            yield made
        left_out = ", ".join(f"{n} {why}" for why, n in sorted(dropped.items())) or "nothing"
        print(f"corpus {source.name}: {quota}; left out: {left_out}", flush=True)


class _Quota:
    """Amounts taken from one source and amounts wanted."""

    def __init__(self, config: CorpusConfig, tokens: int, held_out: int) -> None:
        self._config, self._wanted = config, {"train": tokens, "held_out": held_out}
        self._taken = {"train": 0, "held_out": 0}
        self.names: set[str] = set()

    @property
    def met(self) -> bool:
        return all(self._taken[split] >= self._wanted[split] for split in self._wanted)

    def split(self, family: str) -> str | None:
        """The family's split if more conversations of it are wanted, else None."""
        bucket = family_bucket(family)
        named = (("train", self._config.buckets_train), ("held_out", self._config.buckets_held_out))
        found = next((split for split, buckets in named if bucket in buckets), None)
        return found if found and self._taken[found] < self._wanted[found] else None

    def take(self, made: Conversation) -> None:
        self.names.add(made.name)
        self._taken[made.split] += len(made.replay) if made.split == "train" else 1

    def __str__(self) -> str:
        return (
            f"{self._taken['train']:,} of {self._wanted['train']:,} training tokens, "
            f"{self._taken['held_out']} of {self._wanted['held_out']} held-out conversations"
        )


@dataclass(frozen=True)
class _Draw:
    config: CorpusConfig
    kind: str
    quota: _Quota
    seed: int
    random: np.random.Generator
    taboo: frozenset[str]


def _conversation(chat: Chat, target: Target, draw: _Draw) -> Conversation | str:
    """The conversation with its positions, or the reason why it is left out."""
    config = draw.config
    split = draw.quota.split(chat.family)
    if split is None:
        return "of another split, or not needed any more"
    name = chat.id or chat.family
    if name in draw.quota.names:
        return "taken before"
    text = " ".join(m.text for m in chat.messages)
    if len(chat.messages) < 2 or len(text) < 200:
        return "too short"
    if chat.prose and not mostly_english(text):
        return "not English"
    messages, _ = redact_messages(chat.messages)
    if not draw.taboo.isdisjoint(long_messages(messages)):
        return "with a message of a suite"
    lengths, shares = zip(*config.length_mix, strict=True)
    limit = int(draw.random.choice(lengths, p=np.array(shares) / sum(shares)))
    provenance = Provenance(source=chat.source, licence=chat.licence)
    transcript = Transcript(
        id=name, messages=messages, arm=Arm.DEPLOYMENT, suite="training", family=chat.family, provenance=provenance
    )
    try:
        made = replay(transcript, target.tokenizer, ReplayConfig(max_tokens=limit))
    except NlaEvalError as err:
        return type(err).__name__
    positions = _positions(made, config, draw.seed)
    if len(positions) < _FEWEST:
        return "with too few readable tokens"
    return Conversation(
        name, draw.kind, chat.family, transcript.digest, split, chat.source, chat.licence, made, positions
    )


def _known(pack: str) -> frozenset[str]:
    """Hashes of the families a pack was trained on. Raises InputError if the pack ships none."""
    found = trained_on(load_pack(pack).path)
    if not found:
        raise InputError(
            f"corpus.new_to: pack '{pack}' does not say what it was trained on ({HASHES}); leave new_to out"
        )
    return found


def _new_first(found: Iterator[Chat], known: frozenset[str]) -> Iterator[Chat]:
    """Chats whose family hash is not in `known` first, then the others; order is kept. The others are held in
    memory."""
    held_back = []
    for chat in found:
        if family_hash(chat.family) in known:
            held_back.append(chat)
        else:
            yield chat
    yield from held_back


def _positions(made: Replay, config: CorpusConfig, seed: int) -> NDArray[np.int64]:
    """Positions stratified over the whole conversation and all channels, plus up to two turn boundaries."""
    count = config.positions_per_conversation
    if config.tokens_per_position:
        count = max(count, len(made) // config.tokens_per_position)
    policies = (parse_policy(f"stratified({count})"), parse_policy("boundaries"))
    drawn = [sample_positions(made, p, seed=seed, min_position=config.min_position) for p in policies]
    keep_boundaries = np.random.default_rng([seed, len(made)]).permutation(drawn[1])[:2]
    return np.unique(np.concatenate([drawn[0], keep_boundaries]))


def suite_messages() -> frozenset[str]:
    """Hashes of the long messages of every available suite. A suite whose package or hub cannot be reached is named in
    one line. Suites that read the user's own files have no messages of their own."""
    from ...suite import Needs, get_suite, suite_names

    found: set[str] = set()
    for suite in map(get_suite, suite_names()):
        if suite.card.needs is Needs.PATH:
            continue
        try:
            for transcript in suite.load():
                found |= long_messages(transcript.messages)
        except (MissingExtraError, InputError) as err:
            print(f"corpus: not checked against suite '{suite.card.name}': {err}", flush=True)
    return frozenset(found)


def long_messages(messages: list[ChatMessage]) -> set[str]:
    """Hashes of the messages that are too long to be equal by chance."""
    texts = (m.text.strip() for m in messages if not isinstance(m, ChatMessageSystem))
    return {hashlib.sha256(t.encode()).hexdigest()[:16] for t in texts if len(t) >= _LONG}


_COMMON = frozenset("the and to of a in is for that you it with on as are this be can or your".split())  # noqa: SIM905


def mostly_english(text: str, sample: int = 2000) -> bool:
    """True if at least 12 % of the first words are common English function words and the text is mostly ASCII."""
    head = text[:sample]
    words = head.lower().split()
    ascii_share = sum(c.isascii() for c in head) / max(1, len(head))
    return bool(words) and ascii_share > 0.9 and sum(w in _COMMON for w in words) / len(words) >= 0.12


def write_corpus(conversations_: Iterator[Conversation], out: Path) -> pl.DataFrame:
    """Write one row per conversation: ids, text with character ends per token, channels, turns and positions."""
    rows = [
        {
            "family": c.family,
            "digest": c.digest,
            "split": c.split,
            "kind": c.kind,
            "source": c.source,
            "licence": c.licence,
            "token_ids": c.replay.token_ids.tolist(),
            "text": c.replay.text[: int(c.replay.char_end[-1])],
            "char_start": c.replay.char_start.tolist(),
            "char_end": c.replay.char_end.tolist(),
            "channel": [Channel(int(x)).label for x in c.replay.channel],
            "turn": c.replay.turn.tolist(),
            "role": [c.replay.roles[m] if m >= 0 else "template" for m in c.replay.message.tolist()],
            "positions": c.positions.tolist(),
        }
        for c in conversations_
    ]
    return write_frame(pl.DataFrame(rows), out)
