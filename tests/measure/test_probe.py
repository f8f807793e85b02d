"""A probe is trained on pairs that differ in the notice alone, read at the same tokens, beside readers of the text.

Planted: activations that hold the notice, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

from nla_eval.engines.base import Captured, CaptureRequest
from nla_eval.errors import InputError
from nla_eval.measure.probe import MatchedRows, describe, matched_rows, train_probe
from nla_eval.measure.told import ToldPair, placed_pairs, told_pairs
from nla_eval.models.probe import load_probe, write_probe
from tests.fakes import AWARE_DIRECTION, D_MODEL, ByteTarget, chat

TARGET = ByteTarget()
PAIRS = told_pairs()[::2]
NOTICES = tuple(
    dict.fromkeys(str(pair.told.messages[0].text).removeprefix("You are a helpful AI assistant. ") for pair in PAIRS)
)


def planted(told: float) -> object:
    """A capture whose activations are noise, plus `told` spreads along one direction after a notice of evaluation."""

    def capture(requests: Iterable[CaptureRequest]) -> Iterator[Captured]:
        for request in requests:
            rows = []
            for position in request.positions.tolist():
                text = str(TARGET.tokenizer.decode(request.token_ids[: position + 1].tolist()))
                noise = np.random.default_rng(len(text) * 1000 + position).standard_normal(D_MODEL)
                shift = told * any(notice in text for notice in NOTICES)
                rows.append(noise + shift * AWARE_DIRECTION / np.linalg.norm(AWARE_DIRECTION))
            yield Captured(request.key, np.array(rows, np.float32))

    return capture


def rows_of(told: float, pairs: list[ToldPair] = PAIRS, tokens: int = 3) -> MatchedRows:
    return matched_rows(pairs, TARGET.tokenizer, planted(told), tokens)  # type: ignore[arg-type]


def test_both_sides_of_a_pair_are_read_at_the_same_tokens_after_the_notice() -> None:
    rows = rows_of(0.0)
    assert len(rows.paired) * 2 == len(rows.told) == 20 * 3 * 2
    for told, other in rows.paired:
        assert rows.told[told]
        assert not rows.told[other]
        assert rows.contexts[told].split("<|im_end|>")[-1] == rows.contexts[other].split("<|im_end|>")[-1]
        assert rows.contexts[told] != rows.contexts[other]


@pytest.mark.parametrize(("told", "low", "high"), [(4.0, 0.9, 1.0), (0.0, 0.2, 0.8)])
def test_the_probe_finds_what_is_planted_and_nothing_where_nothing_is(told: float, low: float, high: float) -> None:
    probe = train_probe(rows_of(told), PAIRS, TARGET, 1, "planted")
    found = probe.facts.readers["probe"].value
    assert found is not None
    assert low <= found <= high
    assert set(probe.facts.readers) == {"probe", "words", "characters"}
    assert probe.facts.families == 10
    assert (probe.facts.paired.value or 0) > 0.9 or not told
    text = "\n".join(describe(probe))
    assert ("does as well" in text) is (
        found <= max(probe.facts.readers[r].value or 0 for r in ("words", "characters"))
    )


def test_a_probe_comes_back_from_its_file_with_the_same_scores_and_facts(tmp_path: Path) -> None:
    rows = rows_of(4.0)
    probe = train_probe(rows, PAIRS, TARGET, 1, "told")
    write_probe(probe, tmp_path / "told.safetensors")
    back = load_probe(tmp_path / "told.safetensors")
    assert back.id == probe.id
    assert back.facts == probe.facts
    assert np.array_equal(back.scores(rows.activations), probe.scores(rows.activations))
    apart = back.scores(rows.activations)
    assert apart[rows.told].mean() > 0 > apart[~rows.told].mean()


@pytest.mark.parametrize("content", [None, b"no probe", b""])
def test_a_file_that_is_no_probe_is_refused_with_the_mend(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "p.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="nla-eval probe train"):
        load_probe(tmp_path / "p.safetensors")


def test_notices_are_placed_in_conversations_of_which_each_has_one() -> None:
    talks = [chat(n) for n in range(12)]
    pairs = placed_pairs(talks)
    assert len({pair.told.family for pair in pairs}) == 10
    for talk, pair in zip(talks, pairs, strict=True):
        assert pair.told.family == pair.untold.family
        assert pair.told.messages[1:] == pair.untold.messages[1:] == talk.messages
        assert pair.told.messages[0].text != pair.untold.messages[0].text
    rows = rows_of(3.0, pairs)
    assert len(rows.paired) == 12 * 3


def test_a_long_conversation_is_read_up_to_the_limit_on_both_sides() -> None:
    words = "a word and another. " * 40
    talk = chat(1, messages=[ChatMessageUser(content="Go on."), ChatMessageAssistant(content=words)])
    rows = matched_rows(placed_pairs([talk, chat(2)]), TARGET.tokenizer, planted(1.0), 5, max_tokens=400)  # type: ignore[arg-type]
    longest = max(len(TARGET.tokenizer(context)["input_ids"]) for context in rows.contexts)
    assert longest <= 400


def test_too_few_notices_are_refused() -> None:
    with pytest.raises(InputError, match="at least two notices"):
        rows_of(1.0, placed_pairs([chat(1)]))
