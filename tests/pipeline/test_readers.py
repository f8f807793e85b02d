"""The lanes without a vector in the slot: text_only, text_raw, probe and asked, on planted readers of known truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import numpy as np
import polars as pl
import pytest
from inspect_ai.model import ChatMessageUser

from nla_eval.engines.base import Sampling
from nla_eval.errors import InputError, StoreError
from nla_eval.models.probe import write_probe
from nla_eval.pipeline.asked import asked_id, questions_of, wordings
from nla_eval.pipeline.cost import work_of
from nla_eval.pipeline.plan import Instrument, ReadingPlan, plan_run, prepare
from nla_eval.pipeline.readers import ProbeReader, Readers
from nla_eval.pipeline.reading import ReadResult, Workbench, read_in_process
from nla_eval.pipeline.text_readers import ModelReader, PrefixReader, TextReader, TextRequest
from nla_eval.readings import Lane, StopReason
from nla_eval.store.check import check
from nla_eval.store.compact import compact
from nla_eval.store.store import ReadingStore
from nla_eval.transcript import Transcript
from tests.fakes import AWARE, CUE, ByteTarget, PlantedEngine, TinyPack, both_arms, chat, plain_scores
from tests.planted_readers import PlantedTextReader, planted_answers, planted_probe
from tests.scripted_judge import ScriptedJudge

TARGET = ByteTarget()
INSTRUMENT = Instrument(TARGET, TinyPack())
ALL = (Lane.MEASURED, Lane.TEXT_ONLY, Lane.TEXT_RAW, Lane.PROBE, Lane.ASKED)


@dataclass(frozen=True)
class Made:
    store: ReadingStore
    result: ReadResult
    engine: PlantedEngine
    reader: PlantedTextReader

    def arms(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.join(self.store.transcripts().select("transcript_digest", "arm"), on="transcript_digest")


def probe_file(folder: Path) -> str:
    write_probe(planted_probe(), folder / "planted.safetensors")
    return str(folder / "planted.safetensors")


def read(
    folder: Path,
    lanes: tuple[Lane, ...] = ALL,
    *,
    transcripts: list[Transcript] | None = None,
    reader: PlantedTextReader | None = None,
    name: str = "store",
) -> Made:
    plan = ReadingPlan(
        positions="uniform_response(5)",
        draws=2,
        lanes=lanes,
        text_reader="planted" if Lane.TEXT_ONLY in lanes else None,
        probe=probe_file(folder) if Lane.PROBE in lanes else None,
    )
    run = plan_run(both_arms() if transcripts is None else transcripts, INSTRUMENT, plan)
    store, engine = ReadingStore.create(str(folder / name), run.identity), PlantedEngine(TARGET)
    reader = reader or PlantedTextReader(window=200)
    texts: dict[Lane, TextReader] = {Lane.TEXT_ONLY: reader, Lane.TEXT_RAW: PrefixReader(TARGET.tokenizer, 40)}
    readers = Readers(
        {lane: of for lane, of in texts.items() if lane in lanes},
        planted_answers if Lane.ASKED in lanes else None,
        {Lane.PROBE: ProbeReader(planted_probe())} if Lane.PROBE in lanes else {},
    )
    bench = Workbench(lambda: engine, store, plain_scores, readers=readers)
    return Made(store, read_in_process(run, bench), engine, reader)


def test_texts_are_readings_at_the_same_positions_and_draws_and_scores_are_none(tmp_path: Path) -> None:
    made = read(tmp_path)
    frame = made.store.readings()
    assert dict(frame["lane"].value_counts().iter_rows()) == {"measured": 120, "text_only": 120, "text_raw": 60}
    places = {
        lane: set(frame.filter(pl.col("lane") == lane).select("transcript_digest", "position", "draw").rows())
        for lane in ("measured", "text_only")
    }
    assert places["measured"] == places["text_only"]
    wrote = dict(frame.select("lane", "reader").unique().rows())
    assert wrote == {"measured": None, "text_only": "planted-reader", "text_raw": "prefix(40)"}
    assert frame.filter(pl.col("reader").is_not_null())["cos"].is_null().all()
    assert dict(made.store.scores()["lane"].value_counts().iter_rows()) == {"probe": 60, "asked": 12}
    assert made.result.made == 300
    assert made.result.scored == 72


def test_the_planted_truth_comes_out_of_every_reader(tmp_path: Path) -> None:
    made = read(tmp_path)
    rates = (
        made.arms(made.store.readings())
        .group_by("arm", "lane")
        .agg(pl.col("explanation").str.contains(AWARE).mean().alias("aware"))
    )
    text = {arm: aware for arm, lane, aware in rates.iter_rows() if lane == "text_only"}
    assert text == {"evaluation": 1.0, "deployment": 0.0}
    scores = made.arms(made.store.scores())
    for lane, least, most in (("probe", 0.3, -0.3), ("asked", 0.9, 0.2)):
        of = scores.filter(pl.col("lane") == lane)
        low = float(str(of.filter(pl.col("arm") == "evaluation")["score"].min()))
        high = float(str(of.filter(pl.col("arm") == "deployment")["score"].max()))
        assert low >= least - 1e-9, lane
        assert high <= most + 1e-9, lane


def test_a_habit_of_saying_yes_does_not_move_the_score_asked(tmp_path: Path) -> None:
    row = read(tmp_path, (Lane.MEASURED, Lane.ASKED), transcripts=[chat(1, cue=True)]).store.scores().row(0, named=True)
    assert row["score"] == pytest.approx(0.9)
    assert {round(part, 2) for part in row["parts"]} == {0.95, 0.85}
    assert row["mass"] == pytest.approx(0.8)
    assert row["reader"] == asked_id()
    assert sum(q.aware for q in wordings()) * 2 == len(wordings()) == 8
    assert len({q.ask for q in wordings()}) == 8


def test_a_text_reader_sees_the_tokens_up_to_the_position_and_no_later_one(tmp_path: Path) -> None:
    made = read(tmp_path, (Lane.MEASURED, Lane.TEXT_ONLY), reader=PlantedTextReader(window=30))
    prepared = {p.digest: p for p in plan_run(both_arms(), INSTRUMENT, ReadingPlan("uniform_response(5)")).prepared}
    assert made.reader.asked
    for request in made.reader.asked:
        _, digest, position, _, _ = request.key.split("|")
        ids = prepared[digest].token_ids[: int(position) + 1]
        assert np.array_equal(request.window, ids[-30:])


def test_a_second_run_makes_only_what_is_missing_and_loads_nothing_for_the_rest(tmp_path: Path) -> None:
    first = read(tmp_path, (Lane.MEASURED,))
    assert first.engine.captures
    second = read(tmp_path)
    assert (second.result.made, second.result.present, second.result.scored) == (180, 120, 72)
    assert (second.engine.captures, second.engine.draws) == (0, 0)
    third = read(tmp_path)
    assert (third.result.made, third.result.scored, third.reader.asked) == (0, 0, [])
    assert {kind.kind: kind.after for kind in compact(third.store)}["scores"] == 1
    assert third.store.scores().equals(second.store.scores())
    assert {of.kind: of.rows for of in check(third.store.url).kinds}["scores"] == 72


def test_lanes_read_together_or_one_after_the_other_are_the_same(tmp_path: Path) -> None:
    for lanes in ((Lane.MEASURED, Lane.ASKED), (Lane.MEASURED, Lane.TEXT_RAW, Lane.PROBE), ALL):
        apart = read(tmp_path, lanes, name="apart").store
    together = read(tmp_path, name="together").store
    assert apart.readings().equals(together.readings())
    assert apart.scores().equals(together.scores())


def test_texts_of_two_readers_do_not_mix_in_one_lane(tmp_path: Path) -> None:
    read(tmp_path)
    with pytest.raises(StoreError, match="holds text_only texts by 'planted-reader', this run's reader is 'another'"):
        read(tmp_path, reader=PlantedTextReader("another"))


def test_a_store_written_before_these_lanes_existed_is_read_on(tmp_path: Path) -> None:
    store = read(tmp_path, (Lane.MEASURED,)).store
    for part in list((tmp_path / "store" / "readings").glob("*.parquet")):
        store.write_part("readings", pl.read_parquet(part).drop("reader"))
        part.unlink()
    assert store.readings()["reader"].is_null().all()
    assert store.scores().is_empty()
    assert read(tmp_path).store.readings().height == 300


def test_the_plan_counts_texts_and_captures_nothing_for_them(tmp_path: Path) -> None:
    made = read(tmp_path, (Lane.MEASURED,))
    plan = ReadingPlan("uniform_response(5)", draws=2, lanes=(Lane.MEASURED, Lane.TEXT_RAW, Lane.ASKED))
    run = plan_run(both_arms(), INSTRUMENT, plan)
    assert run.describe().endswith("120 measured + 60 text_raw = 180 readings, and scores of asked")
    work = work_of(run, made.store)
    assert (work.readings, work.tokens) == (60, 0)


def test_what_cannot_be_asked_is_a_row_with_its_reason(tmp_path: Path) -> None:
    whole = chat(1, cue=True)
    asked = questions_of(whole, 120, TARGET.tokenizer, 10_000)
    assert asked.request is not None
    text = TARGET.tokenizer.decode(asked.request.shared.tolist())
    assert CUE in text
    assert all(len(ending) for ending in asked.request.endings)
    assert str(TARGET.tokenizer.decode(asked.request.endings[0].tolist())).endswith("<|im_start|>assistant\n")
    short = Instrument(replace(TARGET, max_context=300), TinyPack())
    plan = ReadingPlan("uniform_response(5)", lanes=(Lane.MEASURED, Lane.ASKED))
    prepared = prepare(whole, short, plan)
    assert prepared.error is None
    assert prepared.questions is not None
    assert "tokens with the question, and the target reads 300" in str(prepared.questions.error)


def test_a_probe_of_another_target_or_layer_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for probe, match in (
        (planted_probe(layer=7), "trained on layer 7, this run reads layer 1"),
        (planted_probe(target="other"), "trained on target other"),
    ):
        write_probe(probe, tmp_path / "p.safetensors")
        plan = ReadingPlan(lanes=(Lane.MEASURED, Lane.PROBE), probe=str(tmp_path / "p.safetensors"))
        with pytest.raises(InputError, match=match):
            plan_run(both_arms(), INSTRUMENT, plan)


def test_a_named_model_writes_in_the_pack_s_form(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["<explanation>\na chat about cities\n</explanation>", "no tags, but ended"])
    planted = ScriptedJudge(lambda messages: next(said))
    monkeypatch.setattr("inspect_ai.model.get_model", lambda name: planted.model)
    reader = ModelReader("mockllm/model", ["line one\nline two"], TARGET.tokenizer, 20)
    ids = TARGET.tokenizer("the capital of country", add_special_tokens=False)["input_ids"]
    requests = [TextRequest(str(i), np.array(ids, np.int32)) for i in range(2)]
    draws = [anyio.run(reader.write, [request], Sampling(1.0, 20))[0] for request in requests]
    assert [(d.text, d.stop) for d in draws] == [
        ("a chat about cities", StopReason.CLOSED),
        ("no tags, but ended", StopReason.CLOSED),
    ]
    (system, user), config = planted.shown[0], planted.configs[0]
    assert "<explanation>\nline one\nline two\n</explanation>" in system.text
    assert user.text == "<text>\nthe capital of country<here/>\n</text>"
    assert (config.temperature, config.max_tokens) == (1.0, 40)


def test_a_model_that_answers_nothing_stops_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text reader 'nowhere/model'"):
        anyio.run(
            ModelReader("nowhere/model", (), TARGET.tokenizer, 20).write, [TextRequest("k", np.arange(3))], Sampling()
        )


def test_a_transcript_that_ends_with_the_user_can_still_be_asked_by_a_template_that_allows_it() -> None:
    ended = chat(1).model_copy(update={"messages": [*chat(1).messages, ChatMessageUser(content="Thanks!")]})
    assert questions_of(ended, 100, TARGET.tokenizer, 10_000).request is not None
