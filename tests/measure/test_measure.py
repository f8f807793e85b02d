"""One call measures a pack and gives a record that can be written, read, put on a card, compared and plotted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nla_eval.engines.hf import TransformersEngine
from nla_eval.errors import InputError
from nla_eval.files import whole_folder
from nla_eval.measure.card import card_entries, card_text
from nla_eval.measure.compare import compare_cards, compare_measured
from nla_eval.measure.curves import over_training, save
from nla_eval.measure.evaluate import DRAWS, Measured, Subject, drawn, measure, subject_of
from nla_eval.measure.held_out_request import Request
from nla_eval.measure.held_out_source import from_source
from nla_eval.measure.record import Record, read_record, write_record
from nla_eval.measure.regurgitation import longest_shared_run
from nla_eval.measure.section import Section
from nla_eval.models.scores import Baselines
from tests.engines.tiny_pack import write_tiny_pack
from tests.fakes import ByteTarget
from tests.measure.test_held_out import chats
from tests.training.planted_reader import PlantedReader, planted_rows, says

CONTEXTS = [f"word{i} word{i + 1} word{i + 2} stop" for i in range(60)]
TEXTS = [f"kind {i % 7}; next: end\nafter: {c}\nabout: theme{i}" for i, c in enumerate(CONTEXTS)]
HELD = planted_rows(TEXTS, CONTEXTS)


def planted(texts: list[str], sections: tuple[Section, ...] = (), step: int | None = None) -> Measured:
    engine = PlantedReader(says(HELD, texts))
    tokenizer = ByteTarget().tokenizer
    subject = Subject(engine, tokenizer, "planted@1", "bytes", Baselines.of(HELD.activations), 40, 10, step, None)
    return measure(subject, HELD, sections)


def test_a_perfect_pack_is_measured_as_perfect_and_its_controls_are_not() -> None:
    record = planted(TEXTS).record
    figures = {name: f.value for name, f in record.figures.items()}
    assert figures["round_trip_fve_nrm"] == pytest.approx(1.0)
    assert figures["beats_shuffled"] == figures["next_token_agreement"] == figures["closed_rate"] == 1.0
    assert figures["retrieval_top1_of_60"] == 1.0
    assert figures["masked_overlap_fve_meannorm"] < 1.0
    shuffled = record.condition("shuffled among rows")
    assert shuffled is not None
    assert shuffled.fve_meannorm.value < 0.3
    assert record.told is None


def test_a_tiny_pack_is_measured_end_to_end_with_every_section(tmp_path: Path) -> None:
    target, pack = write_tiny_pack(tmp_path)
    request = Request(source=str(chats(tmp_path / "chats.jsonl", 14)), rows=42, per_conversation=3, windows=3)
    held = from_source(target, pack.layer, pack.min_position, request)
    record = measure(subject_of(TransformersEngine(target, pack)), held).record
    assert {t.name for t in record.tasks} >= {"suffix_choice", "retrieval", "next_token", "told", "hint", "format"}
    assert record.not_measured.keys() == {"topic", "told recall"}, "a tiny pack tells nothing, and says so"
    told = next(t for t in record.tasks if t.name == "told")
    assert told.readers["empty"].value == pytest.approx(0.5)
    assert 0.0 <= told.readers["reconstruction"].value <= 1.0
    assert {"draws", "draws_reconstruction"} <= told.readers.keys()
    assert told.readers["text_only"].value > 0.6, "the notice stands in the text, in a wording never seen"
    assert [c.name for c in record.paraphrase][:3] == ["text", "paraphrase", "paraphrase of another"]
    assert 48 <= record.paraphrase[0].fve_nrm.n <= 50, "a context may end before the first position that is read"
    assert record.recurrence
    card = {"pack": pack.id, "target": target.name, "layer": pack.layer, **card_entries(record)}
    text = card_text(json.loads(json.dumps(card)))
    for shown in ("Hand-written explanations", "suffix_choice", "Words about testing", "recur over"):
        assert shown in text


def test_the_draws_of_a_position_stay_together_whatever_their_order() -> None:
    engine = PlantedReader(says(HELD, TEXTS))
    halves = [HELD.activations[:25], HELD.activations[25:]]
    for texts, found in zip((TEXTS[:25], TEXTS[25:]), drawn(engine, halves, 40), strict=True):
        assert found.texts == [" ".join([t] * DRAWS) for t in texts]
        assert found.vectors == pytest.approx(engine.reconstruct(texts), abs=1e-5)


def test_a_record_is_read_back_equal_and_a_broken_one_is_named(tmp_path: Path) -> None:
    record = planted(TEXTS, (Section.TASKS,)).record
    write_record(record, tmp_path / "r.json")
    assert read_record(tmp_path / "r.json") == record
    (tmp_path / "r.json").write_text('{"pack": 3}')
    with pytest.raises(InputError, match=r"r\.json"):
        read_record(tmp_path / "r.json")


def test_a_worse_pack_on_the_same_rows_has_a_paired_loss() -> None:
    worse = [t.replace("about: theme", "about: other") if i % 2 else t for i, t in enumerate(TEXTS)]
    first, second = planted(TEXTS), planted(worse)
    paired = compare_measured(first, second, HELD.conversation)
    loss = next(r for r in paired.rows if r.name == "round_trip_fve_meannorm")
    assert loss.gain.high is not None
    assert loss.gain.high < 0
    assert loss.gain.value == pytest.approx(loss.second.value - loss.first.value)
    cards = [{"pack": "p", **card_entries(m.record)} for m in (first, second)]
    unpaired = next(r for r in compare_cards(*cards).rows if r.name == "round_trip_fve_meannorm")
    assert unpaired.gain.value == pytest.approx(loss.gain.value, abs=1e-3)


def test_packs_on_other_rows_are_not_paired() -> None:
    first = planted(TEXTS)
    elsewhere = first.record.model_copy(
        update={"held_out": first.record.held_out.model_copy(update={"digest": "0" * 12})}
    )
    with pytest.raises(InputError, match="different rows"):
        compare_measured(first, replace(first, record=elsewhere), HELD.conversation)
    with pytest.raises(InputError, match="no figure in common"):
        compare_cards({"pack": "a"}, {"pack": "b"})


def curve() -> list[Record]:
    return [planted([t[: 20 + 10 * s] for t in TEXTS], (Section.TASKS,), step=s).record for s in range(3)]


@pytest.mark.parametrize("ending", [".svg", ".png"])
def test_checkpoints_become_a_figure_with_a_panel_for_each_task(tmp_path: Path, ending: str) -> None:
    records = curve()
    drawing = over_training(records[::-1])
    assert len(drawing.axes) == 1 + len(records[-1].tasks)
    whole = drawing.axes[0].lines[0]
    np.testing.assert_allclose(whole.get_xdata(), [0, 1, 2])
    for name in ("a", "b"):
        save(over_training(records), tmp_path / (name + ending))
    assert (tmp_path / ("a" + ending)).read_bytes() == (tmp_path / ("b" + ending)).read_bytes()


def test_what_cannot_be_plotted_is_named() -> None:
    records = curve()
    with pytest.raises(InputError, match="at least two"):
        over_training(records[:1])
    with pytest.raises(InputError, match="no training step"):
        over_training([records[0], records[1].model_copy(update={"step": None})])
    with pytest.raises(InputError, match=r"\.png nor \.svg"):
        save(over_training(records), Path("curve.pdf"))


def test_a_copied_training_string_is_found_unless_it_stands_in_its_own_context() -> None:
    training = ["the quick brown fox jumps over the lazy dog"]
    text = "prose\nafter: brown fox jumps over\nnow: the"
    assert longest_shared_run([text], training, ["nothing here"]) == (4, "brown fox jumps over")
    assert longest_shared_run([text], training, ["quick brown fox jumps over the"])[0] == 0


def test_a_folder_appears_whole_or_not_at_all_and_the_old_one_stays_until_then(tmp_path: Path) -> None:
    final = tmp_path / "pack"
    with whole_folder(final) as out:
        (out / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), whole_folder(final, replace=True) as out:
        (out / "a").write_text(str(1 / 0))
    assert (final / "a").read_text() == "1"
    with whole_folder(final, replace=True) as out:
        (out / "a").write_text("3")
    assert (final / "a").read_text() == "3"
    assert [p.name for p in tmp_path.iterdir()] == ["pack"]
