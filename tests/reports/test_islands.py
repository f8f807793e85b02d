"""Transcripts in the page: every character is data, cut where it must be, beside the one shipped script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nla_eval.reports import _islands as islands_module
from nla_eval.reports._islands import dumped, islands
from nla_eval.reports._page import TEMPLATES, scripts
from nla_eval.reports._prose import browse_rule
from nla_eval.reports.build import render
from planted import SHOWCASE, Arm
from planted_chats import planted_chats

from nla_eval.stats.interval import Resampling
from nla_eval.tally.browse import BrowseOptions, browse
from nla_eval.tally.browsed import Browse, LoggedSample
from nla_eval.tally.tally import TallyOptions, tally
from nla_eval.tally.verdicts import verdicts
from nla_eval.tally.viewer import sample_address

QUICK = TallyOptions(how=Resampling(resamples=50))
SMALL = [Arm("exam", "evaluation", 4, 1, 0.9, verbalized=0.9, donor=True), Arm("chat", "deployment", 4, 1, 0.0)]
NASTY = "</script><script>alert(1)</script> \u2028\u2029 \u202egnp \x00 \x1b[31m {{{{ 7*7 }}}} <!-- {}"


@cache
def found(wrap: str = "{}", filler: str = "", limit: int = 200) -> Browse:
    made = planted_chats(SMALL, wrap=wrap, filler=filler)
    return browse(verdicts(made.frames, QUICK.definitions), made.messages, BrowseOptions(limit=limit))


def plain(pieces: list[Any]) -> str:
    return "".join(p if isinstance(p, str) else p.get("t", "") for p in pieces)


def test_pieces_of_a_text_are_the_text() -> None:
    for transcript, (_, made) in zip(found().transcripts, islands(found())[1], strict=True):
        shown = json.loads(made)
        for message, kept in zip(transcript.messages, shown["messages"], strict=True):
            assert [plain(p["text"]) for p in kept["parts"]] == [p.text for p in message.parts]
        assert [p["p"] for p in shown["positions"]] == [p.position for p in transcript.positions]
        tokens = [p for m in shown["messages"] for part in m["parts"] for p in part["text"] if "p" in p and p != "p"]
        assert {p["p"] for p in tokens if isinstance(p, dict)} == set(range(len(shown["positions"])))


@given(st.text())
def test_no_text_leaves_its_island_and_all_of_it_comes_back(said: str) -> None:
    safe = said.encode("utf-8", "replace").decode()
    made = dumped({"t": safe})
    assert not re.search("[<>&\u2028\u2029]", made)
    assert json.loads(made) == {"t": safe}


def test_hostile_transcripts_stay_data_in_the_page() -> None:
    made = planted_chats(SMALL, wrap=NASTY)
    counted = tally(made.frames, QUICK).model_copy(update={"browse": found(wrap=NASTY)})
    page = render(counted, {}, None, figures=False)
    bodies = re.findall(r"<script([^>]*)>(.*?)</script>", page, flags=re.DOTALL)
    code = [body for attributes, body in bodies if not attributes]
    assert code == [scripts("copy.js", "browse.js")[0]]
    for attributes, body in bodies:
        if attributes:
            assert 'type="application/json"' in attributes
            json.loads(body)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", page)
    assert "⟨U+202E⟩" in page


def test_the_page_allows_its_own_script_alone() -> None:
    counted = tally(planted_chats(SMALL).frames, QUICK)
    script = "\n".join((TEMPLATES / name).read_text() for name in ("copy.js", "browse.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = render(counted.model_copy(update={"browse": found()}), {}, None, figures=False)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert f"script-src 'sha256-{digest}';" in policy[1].replace("&#39;", "'")
    assert "'unsafe-inline'" not in policy[1].replace("&#39;", "'").partition("script-src")[2]
    bare = render(counted, {}, None, figures=False)
    assert bare.count("<script") == 1, "without transcripts the one that copies tables"
    assert digest not in bare


def logged(sample: LoggedSample, viewer: str = "") -> list[str]:
    """What the page holds of a sample: words, and a link if a viewer is named."""
    chats = verdicts(planted_chats(SMALL).frames, QUICK.definitions)
    made = browse(chats, {}, BrowseOptions(viewer=viewer))
    one = replace(made, transcripts=(replace(made.transcripts[0], sample=sample), made.transcripts[1]))
    first, second = (json.loads(body) for _, body in islands(one)[1])
    assert "inspect" not in second, "it is of no log"
    found: list[str] = first["inspect"]
    return found


def test_a_transcript_of_a_log_says_where_it_stands_in_inspect() -> None:
    sample = LoggedSample("sub/2026-11-30 exam.eval", "item/7 #1", 2)
    assert logged(sample) == ["sample item/7 #1, epoch 2 of sub/2026-11-30 exam.eval"], "no link without a viewer"
    words, link = logged(sample, "http://127.0.0.1:7575/")
    assert words == logged(sample)[0]
    assert link == sample_address("http://127.0.0.1:7575", sample)


@pytest.mark.parametrize(
    "text", [NASTY, "javascript:alert(1)", '"><img src=x onerror=alert(1)>', "../../..", "a\nb\tc"]
)
def test_hostile_names_of_logs_and_samples_stay_inside_the_link(text: str) -> None:
    made = planted_chats(SMALL)
    found = browse(
        verdicts(made.frames, QUICK.definitions), made.messages, BrowseOptions(viewer="https://view.example")
    )
    sample = LoggedSample(f"{text}/log.eval", text, 1)
    one = replace(found, transcripts=tuple(replace(t, sample=sample) for t in found.transcripts))
    page = render(tally(made.frames, QUICK).model_copy(update={"browse": one}), {}, None, figures=False)
    for _, body in islands(one)[1]:
        _, link = json.loads(body)["inspect"]
        assert link.startswith("https://view.example/#/logs/")
        assert re.fullmatch(r"[A-Za-z0-9/:#%._~-]+", link)
        assert body in page
    assert "<img" not in page
    assert page.count("<script") == len(one.transcripts) + 2
    assert "connect-src" not in page
    assert "default-src 'none'" in page.replace("&#39;", "'")


@pytest.mark.parametrize("budget", [100_000, 10])
def test_long_texts_keep_the_surroundings_of_read_tokens(monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    monkeypatch.setattr(islands_module, "BUDGET", budget)
    made = found(filler=" word" * 20_000)
    for transcript, (_, island) in zip(made.transcripts, islands(made)[1], strict=True):
        assert len(island) < 60_000
        shown = json.loads(island)
        user = shown["messages"][1]["parts"][0]["text"]
        gaps = sum(p["gap"] for p in user if isinstance(p, dict) and "gap" in p)
        assert gaps + len(plain(user)) == len(transcript.messages[1].parts[0].text)
        assert gaps > 0
        assert len([p for m in shown["messages"] for part in m["parts"] for p in part["text"] if "p" in p and p != "p"])


def test_thousands_of_messages_are_left_out_with_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(islands_module, "_MESSAGES", 2)
    shown = json.loads(islands(found())[1][0][1])["messages"]
    assert [m["i"] for m in shown if "i" in m] == [0, 2, 4]
    assert [m["left"] for m in shown if "left" in m] == [1, 1]


def test_the_rule_of_what_is_in_the_file_is_stated() -> None:
    assert browse_rule(found()) == "All 8 transcripts. Every reading of theirs is here."
    assert browse_rule(found(limit=6)).startswith("6 of 8 transcripts: 3 of ")
    assert "--transcripts" in browse_rule(found(limit=6))


def test_examples_link_to_their_place_in_the_browser() -> None:
    made = planted_chats(SHOWCASE)
    counted = tally(made.frames, QUICK).model_copy(
        update={"browse": browse(verdicts(made.frames, QUICK.definitions), made.messages)}
    )
    page = render(counted, {}, None, figures=False)
    links = re.findall(r'href="#t=(\w+)&amp;p=(\d+)"', page)
    assert len(links) == 3
    for key, position in links:
        island = re.search(rf'id="b-{key}">(.*?)</script>', page, flags=re.DOTALL)
        assert island is not None
        assert int(position) in [p["p"] for p in json.loads(island[1])["positions"]]
