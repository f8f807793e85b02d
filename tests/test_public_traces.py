"""Published readings of the released pairs pass through our positions, scales, parser and classifier: 1,749 activations
of Gemma-3-12B and Qwen2.5-7B with their explanations (github.com/canisli/natural_language_autoencoders)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from nla_eval.engines.self_test import KnownVectors, read_known, write_known
from nla_eval.engines.vllm.prompt import injected_row
from nla_eval.errors import StoreError
from nla_eval.judgement import Outcome
from nla_eval.judging.classify import judge_readings, make_classifier
from nla_eval.models.pack import PUBLIC_PAIRS, Pack
from nla_eval.models.pack_meta import DEFAULT_MIN_POSITION, PUBLIC_VARIANCE
from nla_eval.models.prompts import parse_explanation
from nla_eval.readings import Lane, StopReason
from nla_eval.replay.positions import parse_policy, sample_positions
from nla_eval.replay.types import Channel, Replay, Window
from nla_eval.store.rows import SCHEMA, from_disk, to_disk

TEMPLATE_IDS = {
    "google/gemma-3-12b-it": {2: "<bos>", 105: "<start_of_turn>", 106: "<end_of_turn>"},
    "Qwen/Qwen2.5-7B-Instruct": {151644: "<|im_start|>", 151645: "<|im_end|>"},
}
SCALES = {"google/gemma-3-12b-it": 80000.0, "Qwen/Qwen2.5-7B-Instruct": 150.0}
NORM_TOLERANCE = 3e-7


@dataclass(frozen=True)
class Trace:
    """One conversation, token by token."""

    run: str
    model: str
    rows: list[dict[str, Any]]
    layer: int
    activations: NDArray[np.float32]
    prefixes: list[str]

    @property
    def norms(self) -> NDArray[np.float64]:
        """(T,)"""
        return np.linalg.norm(self.activations.astype(np.float64), axis=1)

    @property
    def special(self) -> NDArray[np.bool_]:
        """(T,) the chat template's own tokens; the file marks Gemma's <bos> only."""
        return np.array([row["token_id"] in TEMPLATE_IDS[self.model] for row in self.rows])


@pytest.fixture(scope="module")
def traces(shared_data: Callable[[str], Path]) -> list[Trace]:
    folder = shared_data("nla_traces_canisli")
    models = {run["run"]: run["model_guess"] for run in json.loads((folder / "runs.json").read_text())}
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with (folder / "traces.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            rows[row["run"]].append(row)
    found = []
    for run, tokens in rows.items():
        table = pl.read_parquet(folder / f"{run}.token_activations.parquet")
        (layer,) = table["activation_layer"].unique()
        ids = table["token_id"].to_list()
        assert ids == [row["token_id"] for row in tokens]
        vectors = table["activation_vector"].to_numpy()
        found.append(Trace(run, models[run], tokens, layer, vectors, table["prefix_text"].to_list()))
    return found


def test_the_traces_are_the_ones_this_file_counts(traces: list[Trace]) -> None:
    assert (len(traces), sum(len(t.rows) for t in traces)) == (15, 1749)
    assert sum(bool(row["nla_output"]) for t in traces for row in t.rows) == 1375


def test_width_and_layer_of_every_activation_are_those_of_the_pair_of_its_model(traces: list[Trace]) -> None:
    for trace in traces:
        (name,) = (name for name, pair in PUBLIC_PAIRS.items() if pair.target == trace.model)
        assert (trace.activations.shape[1], trace.layer) in PUBLIC_VARIANCE
        assert name.endswith(f"-l{trace.layer}")


def test_recorded_norms_are_the_activations_norms(traces: list[Trace]) -> None:
    for trace in traces:
        recorded = np.array([row["activation_norm"] for row in trace.rows])
        np.testing.assert_allclose(trace.norms, recorded, rtol=NORM_TOLERANCE)


def test_token_texts_tile_the_rendered_conversation_and_an_id_has_one_text(traces: list[Trace]) -> None:
    texts: dict[tuple[str, int], set[str]] = defaultdict(set)
    for trace in traces:
        rows = trace.rows
        assert [row["token_index"] for row in rows] == list(range(len(rows)))
        assert rows[0]["char_start"] == 0
        assert all(left["char_end"] == right["char_start"] for left, right in pairwise(rows))
        whole = "".join(row["token_text"] for row in rows)
        assert whole == trace.prefixes[-1]
        for row, prefix in zip(rows, trace.prefixes, strict=True):
            assert whole[row["char_start"] : row["char_end"]] == row["token_text"]
            assert whole[: row["char_end"]] == prefix
            texts[trace.model, row["token_id"]].add(row["token_text"])
    assert all(len(found) == 1 for found in texts.values())
    for model, known in TEMPLATE_IDS.items():
        assert {id_: texts[model, id_] for id_ in known} == {id_: {text} for id_, text in known.items()}


def replay_of(trace: Trace) -> Replay:
    """The trace as a replay whose every word is the user's."""
    count = len(trace.rows)
    zeros = np.zeros(count, np.int32)
    return Replay(
        transcript_id=trace.run, transcript_digest=trace.run, text=trace.prefixes[-1],
        token_ids=np.array([row["token_id"] for row in trace.rows], np.int32), message=zeros,
        channel=np.full(count, Channel.USER, np.int8), turn=zeros,
        char_start=np.array([row["char_start"] for row in trace.rows], np.int32),
        char_end=np.array([row["char_end"] for row in trace.rows], np.int32),
        special=trace.special, roles=("user",), window=Window("none", count, count), template_hash="",
    )  # fmt: skip


def test_the_pairs_first_position_and_the_special_tokens_leave_out_every_activation_of_huge_norm(
    traces: list[Trace],
) -> None:
    dropped, kept, huge = 0, 0, Counter[str]()
    for trace in traces:
        everything = parse_policy(f"stratified({len(trace.rows)})")
        positions = sample_positions(replay_of(trace), everything, seed=0, min_position=DEFAULT_MIN_POSITION)
        expected = np.flatnonzero(~trace.special & (np.arange(len(trace.rows)) >= DEFAULT_MIN_POSITION))
        np.testing.assert_array_equal(positions, expected)
        dropped += min(len(trace.rows), DEFAULT_MIN_POSITION)
        kept += len(positions)
        large = trace.norms > 3 * np.median(trace.norms)
        huge["read"] += int(large[positions].sum())
        huge["all"] += int(large.sum())
    assert (dropped, kept) == (694, 1034)
    assert (huge["all"] >= len(traces), huge["read"]) == (True, 0)


def test_every_real_activation_is_injected_at_the_norm_of_its_pair(traces: list[Trace]) -> None:
    for trace in traces:
        scale = SCALES[trace.model]
        for activation, norm in zip(trace.activations[::7], trace.norms[::7], strict=True):
            row = injected_row(activation.copy(), scale, torch.float32)
            assert float(row.norm()) == pytest.approx(scale, rel=1e-5)
            np.testing.assert_allclose(row.numpy(), activation * (scale / norm), rtol=1e-5, atol=scale * 1e-7)


def test_gemmas_ordinary_activations_outgrow_half_precision_and_are_kept_whole(
    traces: list[Trace], tmp_path: Path
) -> None:
    gemma = next(trace for trace in traces if trace.layer == 32 and len(trace.rows) > 100)
    vectors = gemma.activations[DEFAULT_MIN_POSITION :: len(gemma.rows) // 20]
    assert np.abs(vectors).max() > np.finfo(np.float16).max
    ids = [np.array([row["token_id"] for row in gemma.rows], np.int32)] * len(vectors)
    write_known(str(tmp_path), KnownVectors(ids, np.arange(len(vectors)), vectors))
    known = read_known(cast(Pack, SimpleNamespace(path=tmp_path)))
    assert known is not None
    np.testing.assert_array_equal(known.vectors, vectors)
    np.testing.assert_allclose(from_disk(to_disk(vectors, "bfloat16"), "bfloat16"), vectors, rtol=2**-8)
    with pytest.raises(StoreError, match="does not fit float16; store activations as float32"):
        to_disk(vectors, "float16")


def test_explanations_parse_and_only_those_of_special_tokens_are_truncated(traces: list[Trace]) -> None:
    """The client that wrote them took the tags off, and left the open tag where the close tag was missing."""
    closed, cut = 0, []
    for trace in traces:
        for row, special in zip(trace.rows, trace.special, strict=True):
            if not (text := row["nla_output"]):
                continue
            if text.startswith("<explanation>"):
                body, complete = parse_explanation(text)
                assert (complete, body) == (False, text.removeprefix("<explanation>").strip())
                cut.append(bool(special))
            else:
                assert parse_explanation(f"<explanation>\n{text}\n</explanation><end>") == (text, True)
                closed += 1
    assert (closed, len(cut), all(cut)) == (1358, 17, True)


def readings_of(traces: list[Trace]) -> pl.DataFrame:
    """The explanations as the rows that a store would hold."""
    rows = [
        {
            "pack": trace.model, "transcript_digest": trace.run, "transcript_id": trace.run, "suite": "traces",
            "position": row["token_index"], "lane": Lane.MEASURED.value, "draw": 0,
            "explanation": (parsed := parse_explanation(_tagged(row["nla_output"])))[0],
            "stop": (StopReason.CLOSED if parsed[1] else StopReason.TRUNCATED).value,
        }
        for trace in traces
        for row in trace.rows
        if row["nla_output"]
    ]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={name: SCHEMA[name] for name in rows[0]}).with_columns(
        error=pl.lit(None, pl.String)
    )


def _tagged(text: str) -> str:
    return text if text.startswith("<explanation>") else f"<explanation>{text}</explanation>"


@pytest.mark.slow
def test_the_embedded_classifier_judges_every_real_explanation_and_flags_few_of_these_chats(
    traces: list[Trace],
) -> None:
    """No conversation here is an evaluation, so what is flagged is close to its false-positive rate."""
    judged = anyio.run(partial(judge_readings, readings_of(traces), make_classifier()))
    outcomes = Counter(judged["outcome"])
    assert outcomes[Outcome.TRUNCATED.value] == 17
    assert outcomes[Outcome.UNPARSED.value] == outcomes[Outcome.ERROR.value] == 0
    assert sum(outcomes.values()) == 1375
    flagged = judged.filter(pl.col("outcome") == Outcome.AWARE.value)
    assert flagged.height <= 0.005 * 1358, flagged["evidence"].to_list()
