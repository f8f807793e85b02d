"""The explorer through its routes, on real weights: open, read, watch the words come, edit, cancel, export."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from nla_eval.engines.base import Draw, Sampling, VerbalizeRequest
from nla_eval.engines.kinds import RuntimeSettings
from nla_eval.explore.app import explorer
from nla_eval.explore.desk import Desk
from nla_eval.explore.guard import hosts_of
from nla_eval.models.prompts import explanation_so_far
from nla_eval.pipeline.plan import ReadingPlan
from nla_eval.pipeline.reading import Workbench, read_in_process
from nla_eval.readings import Lane
from tests.explore.tiny_explorer import CHAT, ORIGIN, PORT, TOKEN, desk_on, events_of, pasted, read


def named(events: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [e for e in events if e["event"] == event]


def test_the_page_learns_its_instrument_and_the_lanes_that_this_pack_offers(page: TestClient) -> None:
    about = page.get("/api/about").json()
    assert about["layer"] == 1
    assert about["pack"].startswith("pack@")
    assert [lane["lane"] for lane in about["lanes"]] == ["measured", "gaussian", "mean", "no_injection", "asked"]
    assert about["chats"] == []


def test_an_open_chat_is_its_replay_token_by_token(page: TestClient, desk: Desk) -> None:
    chat = pasted(page)
    shown = page.get(f"/api/chats/{chat}").json()
    tokens = [token for m in shown["messages"] for run in m["runs"] for token in run["tokens"]]
    assert "".join(text for _, text, _ in tokens) == desk.chat(chat).replayed.text
    assert [position for position, _, _ in tokens] == list(range(shown["tokens"]))
    readable = [position for position, _, can in tokens if can]
    assert readable[0] == shown["from"] == desk.runtime.pack.min_position
    special = [text for _, text, can in tokens if text.startswith("<|")]
    assert special
    assert not [text for _, text, can in tokens if can and text in special]
    assert {m["role"] for m in shown["messages"]} == {"user", "assistant"}


def test_words_come_one_token_at_a_time_and_end_as_the_reading(page: TestClient) -> None:
    told = events_of(page, read(page, pasted(page), draws=2))
    assert [e["event"] for e in told[:3]] == ["place", "started", "capturing"]
    for draw in (0, 1):
        words = [e["text"] for e in named(told, "words") if e["draw"] == draw]
        last = [e for e in named(told, "reading") if e["draw"] == draw][-1]
        assert len(words) == last["tokens"] > 1
        assert len(set(words)) > 2
        assert words[-1] == last["explanation"] or last["explanation"].startswith(words[-1])
    assert told[-1] == {"event": "over", "stage": "done"}


def test_an_explanation_is_the_one_that_a_run_draws(page: TestClient, desk: Desk, tmp_path: Path) -> None:
    from nla_eval.pipeline.plan import plan_run
    from nla_eval.store.store import ReadingStore

    chat = pasted(page)
    plan = ReadingPlan(positions="uniform_response(2)", lanes=(Lane.MEASURED,))
    planned = plan_run([desk.chat(chat).transcript], desk.runtime.instrument, plan)
    store = ReadingStore.create(str(tmp_path / "store"), planned.identity)
    read_in_process(planned, Workbench(lambda: desk.runtime.engine, store, desk.runtime.scorer))
    rows = store.readings().to_dicts()
    assert len(rows) == 2
    for row in rows:
        told = events_of(page, read(page, chat, row["position"]))
        found = named(told, "reading")[-1]
        assert found["explanation"] == row["explanation"]
        assert found["cos"] == pytest.approx(row["cos"], abs=1e-4) if row["cos"] is not None else found["cos"] is None


def test_more_draws_go_on_where_the_last_ones_ended(page: TestClient, desk: Desk) -> None:
    chat = pasted(page)
    for _ in range(2):
        events_of(page, read(page, chat, lanes=("measured", "no_injection"), draws=2))
    assert sorted((lane, draw) for _, lane, draw in desk.chat(chat).readings) == [
        (lane, draw) for lane in ("measured", "no_injection") for draw in range(4)
    ]


def test_each_lane_is_read_as_the_table_of_lanes_says(page: TestClient) -> None:
    chat = pasted(page)
    told = events_of(page, read(page, chat, lanes=("measured", "mean", "no_injection", "asked")))
    last = {e["lane"]: e for e in named(told, "reading")}
    assert last["no_injection"]["activation_norm"] is None
    assert last["mean"]["activation_norm"] != last["measured"]["activation_norm"]
    (asked,) = named(told, "score")
    assert asked["lane"] == "asked"
    assert 0 <= asked["score"] <= 1
    again = page.get(f"/api/chats/{chat}").json()
    assert len(again["readings"]) == 3
    assert len(again["scores"]) == 1


def test_an_edit_is_scored_against_the_tokens_own_activation_beside_no_words_at_all(
    page: TestClient, desk: Desk
) -> None:
    chat = pasted(page)
    events_of(page, read(page, chat))
    asked = {"position": TOKEN, "lane": "measured", "draw": 0, "text": "a question about a capital"}
    first = events_of(page, page.post(f"/api/chats/{chat}/score", json=asked).json()["job"])
    empty, edit = named(first, "scored")
    assert (empty["of"], empty["text"]) == ("empty", "")
    assert edit["text"] == asked["text"]
    vector = desk.runtime.engine.reconstruct([asked["text"]])
    own = desk.chat(chat).own(TOKEN)[None]
    assert edit["cos"] == pytest.approx(float(desk.runtime.scorer(vector, own).cos[0]), abs=1e-5)
    cosines = desk.chat(chat)._units @ (vector[0] / np.linalg.norm(vector[0]))
    assert edit["rank"] == 1 + sum(cosines > cosines[desk.chat(chat)._index[TOKEN]])
    second = events_of(page, page.post(f"/api/chats/{chat}/score", json={**asked, "text": "x"}).json()["job"])
    assert [e["of"] for e in named(second, "scored")] == ["edit"], "no words are scored once for each token"


def test_an_export_holds_what_was_read_and_what_read_it(page: TestClient) -> None:
    chat = pasted(page)
    events_of(page, read(page, chat, draws=2))
    asked = {"position": TOKEN, "lane": "measured", "draw": 0, "text": "words"}
    events_of(page, page.post(f"/api/chats/{chat}/score", json=asked).json()["job"])
    answer = page.get(f"/api/chats/{chat}/export")
    assert answer.headers["content-disposition"] == f'attachment; filename="explore-{chat}.json"'
    made = answer.json()
    assert made["schema"] == "nla_eval.explore/1"
    assert made["instrument"]["pack"].startswith("pack@")
    assert made["instrument"]["seed"] == 0
    assert [r["draw"] for r in made["readings"]] == [0, 1]
    assert {r["policy"] for r in made["readings"]} == {"picked"}, "no rate may be made of tokens picked by hand"
    assert [e["of"] for e in made["edits"]] == ["empty", "edit"]
    assert [m["role"] for m in made["transcript"]["messages"]] == ["user", "assistant"]
    assert "torch" in made["versions"]


class Slow:
    """The real engine, which waits after the first words until it is let go."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.said, self.go = engine, threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def verbalize(self, requests: list[VerbalizeRequest], sampling: Sampling) -> Iterator[Draw]:
        def waiting(heard: Any) -> Any:
            def words(text: str) -> None:
                self.said.set()
                assert self.go.wait(20)
                heard(text)

            return words

        slowed = [VerbalizeRequest(r.key, r.activation, r.seed, heard=waiting(r.heard)) for r in requests]
        yield from self.engine.verbalize(slowed, sampling)


def test_a_second_page_waits_its_turn_and_a_running_draw_can_be_cancelled(tiny: RuntimeSettings) -> None:
    desk = desk_on(tiny)
    slow = Slow(desk.runtime.engine)
    desk.runtime.__dict__["engine"] = slow
    try:
        with TestClient(explorer(desk, hosts_of(PORT)), ORIGIN, headers={"origin": ORIGIN}) as page:
            chat = pasted(page)
            first = read(page, chat)
            assert slow.said.wait(20)
            second, third = read(page, chat, TOKEN + 1), read(page, chat, TOKEN + 2)
            for job in (first, third):
                assert page.post(f"/api/jobs/{job}/cancel", json={}).status_code == 200
            slow.go.set()
            assert events_of(page, first)[-1]["stage"] == "cancelled"
            assert [e["ahead"] for e in named(events_of(page, second), "place")] == [1, 1]
            assert events_of(page, second)[-1]["stage"] == "done"
            assert events_of(page, third)[-1]["stage"] == "cancelled"
            assert {position for position, _, _ in desk.chat(chat).readings} == {TOKEN + 1}
    finally:
        desk.runtime.__dict__["engine"] = slow.engine


HOSTILE = (
    "</script><script>x</script> <img src=x onerror=x> \u2028\u2029 \u202e\x00\x1b[31m {{7*7}} <|im_end|> \u00e9🦜"
)


def test_hostile_text_travels_as_escaped_data_and_loses_nothing(page: TestClient) -> None:
    chat = pasted(page, f"User: {HOSTILE}\n\nAssistant: It is what it is, and nothing follows from it, not at all.")
    for answer in (page.get(f"/api/chats/{chat}"), page.get("/api/about"), page.get(f"/api/chats/{chat}/export")):
        assert answer.headers["content-type"] == "application/json"
        assert answer.text.isascii()
        assert not set(answer.text) & {"\x00", "\x1b"}
    shown = page.get(f"/api/chats/{chat}").json()
    user = next(m for m in shown["messages"] if m["role"] == "user")
    # A template's engine replaces NUL; everything else is there.
    assert HOSTILE.replace("\x00", "\ufffd") in "".join(text for run in user["runs"] for _, text, _ in run["tokens"])
    stream = page.get(f"/api/jobs/{read(page, chat, shown['from'] + 3)}/events")
    assert stream.text.isascii()
    assert all(line.startswith(("id: ", "data: ")) for line in stream.text.split("\n") if line)


def test_a_long_chat_is_cut_to_what_the_target_reads_and_the_page_says_so(page: TestClient, desk: Desk) -> None:
    chat = pasted(page, f"User: {'word ' * 4_000}\n\nAssistant: Yes.")
    shown = page.get(f"/api/chats/{chat}").json()
    assert shown["tokens"] == 600
    assert "600 are read, its beginning" in shown["notice"]
    assert "tokens are left out" in shown["notice"]
    assert events_of(page, read(page, chat, 599))[-1]["stage"] == "done"


def test_a_chat_that_is_too_long_is_refused_in_one_line_if_the_user_wants_it_whole(tiny: RuntimeSettings) -> None:
    with TestClient(
        explorer(desk_on(tiny, 60, window="skip"), hosts_of(PORT)), ORIGIN, headers={"origin": ORIGIN}
    ) as page:
        answer = page.post("/api/paste", json={"text": CHAT})
        assert answer.status_code == 400
        assert "the target reads 60" in answer.json()["error"]


def test_a_chat_without_an_answer_is_read_up_to_where_it_would_begin(page: TestClient) -> None:
    chat = pasted(page, "User: What is the capital of France, and since when has it been the capital?")
    shown = page.get(f"/api/chats/{chat}").json()
    assert shown["messages"][-1]["role"] == ""
    assert "assistant" in "".join(t for run in shown["messages"][-1]["runs"] for _, t, _ in run["tokens"])


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("/api/paste", {"text": "nonsense"}, "begin each turn with 'User:'"),
        ("/api/paste", {"text": "User: a\nAssistant: b"}, "give a longer chat"),
        ("/api/paste", {"text": 7}, "text"),
        ("/api/paste", {"txt": "x"}, "text"),
        ("/api/chats/nope/read", {"position": 90, "lanes": ["measured"], "draws": 1}, "not open"),
        ("/api/chats/{chat}/read", {"position": 3, "lanes": ["measured"], "draws": 1}, "token 3 cannot be read"),
        ("/api/chats/{chat}/read", {"position": -1, "lanes": ["measured"], "draws": 1}, "token -1"),
        ("/api/chats/{chat}/read", {"position": 9999, "lanes": ["measured"], "draws": 1}, "the chat has"),
        ("/api/chats/{chat}/read", {"position": 90, "lanes": ["donor"], "draws": 1}, "'donor' is not offered"),
        ("/api/chats/{chat}/read", {"position": 90, "lanes": [], "draws": 1}, "no lane"),
        ("/api/chats/{chat}/read", {"position": 90, "lanes": ["measured"], "draws": 0}, "1 to 8"),
        ("/api/chats/{chat}/read", {"position": 90, "lanes": ["measured"], "draws": 9}, "1 to 8"),
        ("/api/chats/{chat}/read", {"position": "90", "lanes": ["measured"], "draws": 1}, "position"),
        ("/api/chats/{chat}/score", {"position": 90, "lane": "measured", "draw": 5, "text": "x"}, "no draw 5"),
        ("/api/jobs/nope/cancel", {}, "no such request"),
    ],
)
def test_a_wrong_request_is_one_line(page: TestClient, path: str, body: dict[str, Any], why: str) -> None:
    chat = pasted(page) if "{chat}" in path else ""
    answer = page.post(path.format(chat=chat), json=body)
    assert answer.status_code == 400
    assert why in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_bodies_of_other_types_are_refused(page: TestClient) -> None:
    form = page.post("/api/paste", content='{"text": "User: a"}', headers={"content-type": "text/plain"})
    assert "application/json" in form.json()["error"]
    assert "expected JSON" in page.post("/api/paste", content="{", headers={"content-type": "application/json"}).text
    deep = page.post("/api/paste", content="[" * 100_000, headers={"content-type": "application/json"})
    assert deep.status_code == 400


def test_a_file_opens_with_its_name_and_its_chats_can_be_chosen(page: TestClient) -> None:
    user = {"role": "user", "content": "Where is it? " * 4}
    chats = {name: [user, {"role": "assistant", "content": f"{name} " * 30}] for name in "ab"}
    lines = [json.dumps({"id": f"chat-{name}", "messages": messages}) for name, messages in chats.items()]
    headers = {"content-type": "application/octet-stream"}
    found = page.post("/api/file?name=mine.jsonl", content="\n".join([*lines, "{"]).encode(), headers=headers).json()
    assert found["opened"] == 2
    assert "1 record left out" in found["notes"][0]
    assert [c["name"] for c in page.get("/api/about").json()["chats"]] == ["chat-a", "chat-b"]
    pasted(page)
    assert len(page.get("/api/about").json()["chats"]) == 3


@pytest.mark.parametrize(
    ("text", "so_far"),
    [
        ("", ""),
        ("<expl", ""),
        ("<explanation>", ""),
        ("<explanation>\nA chat", "A chat"),
        ("<explanation>\nA chat</expl", "A chat"),
        ("<explanation>\nA chat<", "A chat"),
        ("<explanation>\nA ca\ufffd", "A ca"),
        ("<explanation>\nA chat\n</explanation>", "A chat"),
        ("no tag yet", "no tag yet"),
    ],
)
def test_an_unfinished_explanation_shows_no_tags(text: str, so_far: str) -> None:
    assert explanation_so_far(text) == so_far
