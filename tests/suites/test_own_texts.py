"""Claims about the texts written for the suites: hard negatives all differ, pairs differ in one clause only, and format
is crossed with context."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import combinations
from statistics import quantiles

import pytest
import yaml
from nla_eval.suites import _content

from nla_eval.errors import InputError
from nla_eval.suite import get_suite
from nla_eval.transcript import Arm, Transcript

ALIKE = 0.2
"""Jaccard similarity of word triples above which two requests count as near-duplicates. The highest is below 0.1."""


def load(name: str) -> list[Transcript]:
    return list(get_suite(name).load())


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def triples(transcript: Transcript) -> set[tuple[str, ...]]:
    found = words(" ".join(m.text for m in transcript.messages))
    return {tuple(found[at : at + 3]) for at in range(max(1, len(found) - 2))}


class TestHardNegatives:
    def test_there_are_two_hundred_in_twenty_kinds_of_at_least_seven(self) -> None:
        kinds = Counter(t.family for t in load("hard_negatives"))
        assert kinds.total() >= 200
        assert len(kinds) >= 20
        assert min(kinds.values()) >= 7

    def test_the_first_ones_are_spread_over_all_kinds(self) -> None:
        transcripts = load("hard_negatives")
        kinds = {t.family for t in transcripts}
        assert {t.family for t in transcripts[: len(kinds)]} == kinds

    @pytest.mark.parametrize("name", ["hard_negatives", "capability_chat"])
    def test_none_is_nearly_another(self, name: str) -> None:
        prints = [(t.id, triples(t)) for t in load(name)]
        near = [
            (first, second) for (first, a), (second, b) in combinations(prints, 2) if len(a & b) > ALIKE * len(a | b)
        ]
        assert near == []

    def test_hardly_two_open_with_the_same_five_words(self) -> None:
        openings = Counter(" ".join(words(t.messages[0].text)[:5]) for t in load("hard_negatives"))
        assert {opening for opening, count in openings.items() if count > 1} <= {"i want you to act"}

    def test_lengths_and_manners_vary(self) -> None:
        transcripts = load("hard_negatives")
        texts = [t.messages[-1].text for t in transcripts]
        tenths = quantiles([sum(len(m.text) for m in t.messages) for t in transcripts], n=10)
        assert tenths[0] < 110
        assert tenths[-1] > 250
        lower_case = sum(text[0].islower() for text in texts) / len(texts)
        assert 0.15 < lower_case < 0.6
        assert sum("?" not in text for text in texts) > len(texts) / 4
        assert sum(len(t.messages) > 1 for t in transcripts) >= 10

    def test_they_speak_of_testing_and_never_to_the_model_as_its_test(self) -> None:
        for transcript in load("hard_negatives"):
            text = transcript.messages[-1].text.lower()
            assert not re.search(r"you are (being|now being) (tested|evaluated|assessed)", text), transcript.id


class TestMinimalPairs:
    def test_versions_differ_in_their_clause_only(self) -> None:
        bases = defaultdict(list)
        for transcript in load("minimal_pairs"):
            bases[transcript.family].append(transcript)
        assert len(bases) >= 40
        for versions in bases.values():
            assert [t.variant for t in versions] == ["told_test", "told_production", "neutral"]
            bare = {tuple((m.role, m.text.replace(t.metadata["clause"], "…")) for m in t.messages) for t in versions}
            assert len(bare) == 1
            assert sum(text.count("…") for _, text in next(iter(bare))) == 1
            assert len({t.metadata["clause"] for t in versions}) == 3

    def test_clauses_of_one_request_are_about_equally_long(self) -> None:
        for transcript in load("minimal_pairs"):
            assert 4 <= len(words(transcript.metadata["clause"])) <= 22, transcript.id

    def test_only_one_version_speaks_of_a_test(self) -> None:
        said = (
            r"test|evaluat|benchmark|assess|grad|scor|measur|experiment|red-team|scenario|synthetic|compar|rated|audit"
        )
        said += r"|borderline|planted|made-up|sanity|mystery|simulated|raters|generated|study|sandbox|item"
        for transcript in load("minimal_pairs"):
            speaks = bool(re.search(said, transcript.metadata["clause"].lower()))
            assert speaks == (transcript.variant == "told_test"), transcript.id

    def test_they_stand_on_neither_side_of_a_comparison(self) -> None:
        assert {t.arm for name in ("minimal_pairs", "format_context") for t in load(name)} == {Arm.MONITOR}


def test_format_is_crossed_with_context() -> None:
    items = defaultdict(dict)
    for transcript in load("format_context"):
        items[transcript.family][transcript.metadata["format"], transcript.metadata["context"]] = transcript
    assert len(items) >= 20
    for cells in items.values():
        assert len(cells) == 4
        for (format_, context), transcript in cells.items():
            assert transcript.variant == f"{format_}_{context}"
            other = cells[format_, "deployment" if context == "evaluation" else "evaluation"]
            turned = cells["chat" if format_ == "exam" else "exam", context]
            assert transcript.messages[1].text == other.messages[1].text != turned.messages[1].text
            assert transcript.messages[0].text == turned.messages[0].text != other.messages[0].text


def test_a_key_in_two_files_of_a_folder_is_one_line(tmp_path, monkeypatch) -> None:
    for name in ("a", "b"):
        (tmp_path / "kinds").mkdir(exist_ok=True)
        (tmp_path / "kinds" / f"{name}.yaml").write_text(yaml.safe_dump({"same": ["x"]}))
    monkeypatch.setattr(_content, "DATA", tmp_path)
    with pytest.raises(InputError, match=r"b\.yaml: another file of the folder also has 'same'"):
        list(_content.read_folder("kinds"))
