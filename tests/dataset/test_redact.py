"""Claims about masking personal data."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ContentImage, ContentReasoning, ContentText
from inspect_ai.tool import ToolCall

from nla_eval.dataset.redact import redact, redact_messages

MASKED = [
    ("write to jane.doe+x@mail.example.co.uk today", "write to [email] today"),
    ("call +49 170 1234567 now", "call [phone] now"),
    ("call +491701234567.", "call [phone]."),
    ("call (415) 555-2671, or 415-555-2671", "call [phone], or [phone]"),
    ("tel: 020 7946 0958", "tel: [phone]"),
    ("my key is sk-abcdEFGH1234567890abcdEFGH", "my key is [key]"),
    ("AKIAIOSFODNN7EXAMPLE", "[key]"),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[key]"),
    ("hash 5f4dcc3b5aa765d61d8327deb882cf99 here", "hash [key] here"),
    ("jwt eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4", "jwt [key]"),
    ("card 4111 1111 1111 1111 ok", "card [card] ok"),
    ("ssn 078-05-1120", "ssn [ssn]"),
    ("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", "[key]"),
    ("xoxb-123456789012-123456789012-abcdefghijklmnopqrstuvwx", "[key]"),
    ("token glpat-abcDEF0123456789abcd", "token [key]"),
    ("iban DE89 3704 0044 0532 0130 00.", "iban [iban]."),
    ("server 192.168.10.44:8080", "server [ip]:8080"),
    ("postgres://admin:hunter2@db/x", "postgres://[password]@db/x"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "[private key]"),
]

KEPT = [
    "in 2023-04-05 and on 05.04.2023",
    "it costs $1,200.50 or 3.14159 units, about 12 000 people",
    "lines 120-130, pages 12 to 19, ISO 9001:2015",
    "version 1.2.3 of python 3.11",
    "order 1234567",
    "a" * 60,
    "=" * 50 + "-" * 50,
    "https://example.com/some/very/long/path/that/goes/on/and/on/index.html",
    "def compute_the_average_of_all_values_in_list(values):",
    "@media (min-width: 640px) { grid-template-columns: 1fr 2fr }",
    "3 4 5 6 and 10 20 30",
    "see chapter 4 2 1",
    "+1 23",
]


@pytest.mark.parametrize(("text", "expected"), MASKED)
def test_personal_data_is_masked(text: str, expected: str) -> None:
    assert redact(text).text == expected


@pytest.mark.parametrize("text", KEPT)
def test_ordinary_text_is_kept(text: str) -> None:
    assert redact(text).text == text


def test_maskings_are_counted_by_kind() -> None:
    assert redact("a@b.org and c@d.org, 192.168.0.1").counts == {"email": 2, "ip": 1}


@given(st.text(max_size=300))
def test_masking_twice_changes_nothing(text: str) -> None:
    once = redact(text).text
    assert redact(once).text == once


@given(st.text(max_size=80), st.from_regex(r"[a-z]{1,10}\.[a-z]{1,10}@[a-z]{1,10}\.(com|org|de)", fullmatch=True))
def test_an_address_between_spaces_never_survives(text: str, address: str) -> None:
    assert address not in redact(f"{text} {address} {text}").text


@pytest.mark.parametrize("hostile", ["1-" * 50_000, "a." * 50_000 + "@", "+1 " * 50_000, "x" * 200_000, "1" * 200_000])
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    start = time.perf_counter()
    redact(hostile)
    assert time.perf_counter() - start < 5


def test_messages_keep_their_shape_and_lose_only_the_masked_text() -> None:
    image = ContentImage(image="data:image/png;base64,AAAA")
    messages = [
        ChatMessageUser(id="m1", content="I am x@y.org"),
        ChatMessageAssistant(
            id="m2",
            content=[ContentReasoning(reasoning="hm, x@y.org"), ContentText(text="hello x@y.org"), image],
            tool_calls=[ToolCall(id="c", function="mail", arguments={"to": ["x@y.org"], "n": 1})],
        ),
    ]
    masked, counts = redact_messages(messages)
    assert counts == {"email": 4}
    assert [m.id for m in masked] == ["m1", "m2"]
    assert masked[0].text == "I am [email]"
    assert masked[1].content == [ContentReasoning(reasoning="hm, [email]"), ContentText(text="hello [email]"), image]
    assert isinstance(masked[1], ChatMessageAssistant)
    assert masked[1].tool_calls is not None
    assert masked[1].tool_calls[0].arguments == {"to": ["[email]"], "n": 1}
    assert messages[0].text == "I am x@y.org"
