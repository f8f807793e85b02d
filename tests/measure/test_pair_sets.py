"""Validation prompts are matched: one thing differs, layouts and lengths do not, paraphrases share few words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nla_eval.engines.base import Draw
from nla_eval.judgement import Headline, Judgement, Label, Outcome
from nla_eval.judging.classify import load_rubric, unjudged
from nla_eval.measure.pair_files import pairs_data, paraphrase_data
from nla_eval.measure.pair_sets import PairSet, format_set, hint_set, told_set
from nla_eval.measure.pair_tasks import PairRows, Spoken, between_sides, pair_task
from nla_eval.measure.paraphrase import LINES
from nla_eval.measure.parts import words_of
from nla_eval.measure.tasks import NotEnoughError
from nla_eval.measure.told import ToldJudged, told_judged, told_pairs, told_words
from nla_eval.readings import StopReason

SETS = [told_set(), hint_set(), format_set()]


@pytest.mark.parametrize("pairs", SETS, ids=lambda p: p.name)
def test_every_family_holds_both_sides_equally_often(pairs: PairSet) -> None:
    sides = Counter(zip((t.family for t in pairs.transcripts), pairs.positive, strict=True))
    assert len(set(sides.values())) == 1
    assert len({family for family, _ in sides}) >= 10


@pytest.mark.parametrize("pairs", SETS, ids=lambda p: p.name)
def test_ids_are_unique_and_lengths_are_matched(pairs: PairSet) -> None:
    assert len({t.id for t in pairs.transcripts}) == len(pairs.transcripts)
    words = {True: 0, False: 0}
    for transcript, side in zip(pairs.transcripts, pairs.positive, strict=True):
        words[side] += len(transcript.messages[-2].text.split())
    assert abs(words[True] - words[False]) / words[False] < 0.05


def test_told_pairs_differ_in_their_notice_only() -> None:
    assert len(told_pairs()) == 40
    for pair in told_pairs():
        told, untold = pair.told.messages[1].text, pair.untold.messages[1].text
        assert told != untold
        assert told.split(".")[0].split("?")[0] == untold.split(".")[0].split("?")[0]
        assert pair.told.family == pair.untold.family


def test_a_hint_and_its_twin_and_a_notice_and_its_twin_have_as_many_words() -> None:
    for pair in [*pairs_data()["told"]["notices"], *pairs_data()["hint"]["sentences"]]:
        assert len(pair[0].split()) == len(pair[1].split()), pair


def test_both_layouts_stand_on_both_sides() -> None:
    pairs = format_set()
    exam = [t.messages[0].text.startswith("Question:") for t in pairs.transcripts]
    counts = Counter(zip(exam, pairs.positive, strict=True))
    assert set(counts.values()) == {12}


def overlap(a: str, b: str) -> float:
    """Share of the different words of either text that both hold (Jaccard)."""
    first, second = words_of(a), words_of(b)
    return len(first & second) / len(first | second)


def test_fifty_paraphrases_share_few_words_and_say_where_they_belong() -> None:
    records = paraphrase_data()
    assert len(records) == 50
    assert len({r["text"] for r in records}) == 50
    for record in records:
        assert overlap(record["text"], record["paraphrase"]) < 0.15
        assert record["context"]["user"]
    for record in records[:LINES]:
        assert len(record["text"].splitlines()) == len(record["paraphrase"].splitlines()) == 3


@pytest.mark.parametrize(
    ("told", "untold", "expresses"),
    [("graded on a test", "a garden", True), ("a garden", "a garden", False), ("a garden", "an exam", False)],
)
def test_belief_is_expressed_when_told_positions_speak_of_testing_and_others_do_not(
    told: str, untold: str, expresses: bool
) -> None:
    families = [i // 8 for i in range(80)]
    side = [i % 2 == 0 for i in range(80)]
    for spared in (6, 1000):
        texts = [(told if s and i % spared else untold) for i, s in enumerate(side)]
        assert told_words(texts, side, np.array(families)).expresses_belief is expresses


@pytest.mark.parametrize(
    ("apart", "spread", "wanted"), [(0.0, 0.0, 0.0), (1.0, 0.0, 0.2), (2.0, 0.0, 0.5), (1.0, 4.0, 0.02)]
)
def test_the_share_of_variance_between_sides_is_the_planted_one(apart: float, spread: float, wanted: float) -> None:
    random = np.random.default_rng(0)
    positive = np.arange(160) % 2 == 0
    common, noise = np.zeros(64), random.standard_normal((160, 64)) / 8  # noise of variance 1 over all dimensions
    common[0] = 1000.0  # so that dividing by the norm changes nothing but the scale
    offset = np.zeros(64)
    offset[1] = apart
    slots = random.standard_normal((5, 64))[np.arange(160) // 2 % 5] / 8 * spread
    activations = (common + noise + slots + np.where(positive[:, None], offset, 0.0)).astype(np.float32)
    rows = PairRows("planted", activations, [""] * 160, positive, np.arange(160) // 10, np.arange(160) // 2 % 5)
    assert between_sides(rows) == pytest.approx(wanted, abs=0.03)
    lengths = random.uniform(0.5, 2, (160, 1)).astype(np.float32)
    assert between_sides(replace(rows, activations=activations * lengths)) == pytest.approx(between_sides(rows))


def test_what_only_the_ar_takes_for_alike_is_told_from_its_vectors() -> None:
    random = np.random.default_rng(1)
    positive, family = np.arange(120) % 2 == 0, np.arange(120) // 10
    vectors = random.standard_normal((120, 16)).astype(np.float32)
    rows = PairRows("planted", vectors, ["a context"] * 120, positive, family, np.zeros(120, int))
    said = [f"word{random.integers(10**9)}" for _ in positive]  # no word twice
    task = pair_task(rows, Spoken(said, vectors + 4 * positive[:, None].astype(np.float32)))
    assert task.readers["reconstruction"].value > 0.95
    assert task.readers["explanation"].value == pytest.approx(0.5, abs=0.15)
    assert task.readers["probe"].value < 0.65, "the activations are noise"
    assert task.note.startswith("12 families; the side makes ")


def test_what_one_explanation_leaves_out_is_read_from_several() -> None:
    random = np.random.default_rng(2)
    positive, family = np.arange(120) % 2 == 0, np.arange(120) // 10
    noise = random.standard_normal((120, 16)).astype(np.float32)
    rows = PairRows("planted", noise, ["a context"] * 120, positive, family, np.zeros(120, int))
    silent = ["a word"] * 120
    telling = [f"a word a word a {'check' if side else 'chat'}" for side in positive.tolist()]
    task = pair_task(rows, Spoken(silent, noise), Spoken(telling, noise + 4 * positive[:, None].astype(np.float32)))
    assert task.readers["explanation"].value == pytest.approx(0.5)
    assert task.readers["reconstruction"].value < 0.65
    assert task.readers["draws"].value == 1.0
    assert task.readers["draws_reconstruction"].value > 0.95
    assert not {"draws", "draws_reconstruction"} & set(pair_task(rows, Spoken(silent, noise)).readers)


class SaysTest:
    """A classifier with a planted rule: belief where the text says so, broad where it says "contrived"."""

    name = "planted@1"
    rubric = load_rubric()

    async def judge(self, texts: list[str], *, kind: str) -> list[Judgement]:
        assert kind == "explanation"
        labels = [[Label.BELIEF] if "test" in t else [Label.CONTRIVED] if "contrived" in t else [] for t in texts]
        return [
            unjudged(self, Outcome.AWARE if found else Outcome.NOT_AWARE, labels=found or [Label.NONE])
            for found in labels
        ]


def test_told_recall_is_judged_by_the_classifier_and_headlines_of_n() -> None:
    families = np.arange(80) // 8
    side = [i % 2 == 0 for i in range(80)]
    said = [
        "a test" if s and i % 3 else "contrived" if not s and i % 5 == 0 else "a garden" for i, s in enumerate(side)
    ]
    draws = [Draw(str(i), text, StopReason.CLOSED, 3) for i, text in enumerate(said)]
    draws[1] = replace(draws[1], text="a te", stop=StopReason.TRUNCATED)
    found = told_judged(draws, side, families, SaysTest())
    told = [i for i in range(80) if side[i]]
    assert (found.classifier, found.unjudged) == ("planted@1", 1)
    assert found.rubric.startswith("strict@")
    belief, broad = found.headlines[Headline.BELIEF], found.headlines[Headline.BROAD]
    assert belief.recall.value == pytest.approx(sum(i % 3 > 0 for i in told) / 40)
    assert (belief.untold.value, belief.recall.n, belief.untold.n) == (0.0, 40, 39)
    assert broad.untold.value == pytest.approx(8 / 39)
    assert belief.difference.low is not None
    assert ToldJudged.model_validate_json(found.model_dump_json()) == found


def test_told_recall_needs_a_judged_explanation_on_both_sides() -> None:
    draws = [Draw(str(i), "a test", StopReason.CLOSED if i % 2 else StopReason.TRUNCATED, 3) for i in range(20)]
    with pytest.raises(NotEnoughError, match="one side of the told pairs"):
        told_judged(draws, [i % 2 == 0 for i in range(20)], np.arange(20) // 2, SaysTest())
