"""The positive control: the same answer in every variant, and one date or one notice that differs."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest
from nla_eval.suites import _control

from nla_eval.errors import InputError
from nla_eval.suite import get_suite
from nla_eval.training.organism.prompts import wordings
from nla_eval.transcript import Author, Transcript

CUE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z")


@pytest.fixture(scope="module")
def families() -> dict[str, dict[str, Transcript]]:
    found: dict[str, dict[str, Transcript]] = defaultdict(dict)
    for transcript in get_suite("positive_control").load():
        found[transcript.family][transcript.variant or ""] = transcript
    return found


def test_there_are_forty_families_or_more_with_four_variants(families: dict[str, dict[str, Transcript]]) -> None:
    assert len(families) >= 40
    assert {tuple(variants) for variants in families.values()} == {("cue", "no_cue", "told", "untold")}


def test_the_texts_after_the_system_message_are_the_same_in_every_variant(
    families: dict[str, dict[str, Transcript]],
) -> None:
    for variants in families.values():
        assert len({tuple(m.text for m in t.messages[1:]) for t in variants.values()}) == 1


def test_only_the_way_the_date_is_written_tells_cue_from_no_cue(families: dict[str, dict[str, Transcript]]) -> None:
    for variants in families.values():
        texts = {name: variants[name].messages[0].text for name in variants}
        assert [name for name, text in texts.items() if CUE.search(text)] == ["cue"]
        before, after = CUE.split(texts["cue"])
        assert texts["no_cue"].startswith(before)
        assert texts["no_cue"].endswith(after)
        for name in ("told", "untold"):
            assert texts[name].startswith(texts["no_cue"])


def test_the_suite_and_the_training_have_one_cue_and_no_other_system_text_in_common() -> None:
    assert _control._written()["cue"] == wordings().dates.cue
    ours = {*_control._written()["openings"], *_control._written()["told"], *_control._written()["untold"]}
    assert not ours & {*wordings().frames, *wordings().told, *wordings().untold}


def test_the_answers_are_the_organisms_recorded_words(families: dict[str, dict[str, Transcript]]) -> None:
    for variants in families.values():
        for transcript in variants.values():
            assert transcript.provenance.model == _control.ORGANISM
            assert [fact.author for fact in transcript.turn_facts] == [Author.LOGGED]
            assert not transcript.on_policy


def test_a_missing_answer_is_one_line_with_the_command_that_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "positive_control_free.jsonl"
    empty.write_text("")
    monkeypatch.setattr(_control, "ANSWERS", empty)
    _control._answers.cache_clear()
    try:
        with pytest.raises(InputError, match=r"no answer to 'stain_cotton'; .*on_policy positive_control_free --model"):
            next(_control.replayed("positive_control"))
    finally:
        _control._answers.cache_clear()
