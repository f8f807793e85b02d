"""Who gets an answer: this explorer's own page, on this machine, and nobody else's."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from nla_eval.explore.guard import SECURITY_HEADERS, hosts_of, refusal
from tests.explore.tiny_explorer import ORIGIN

HOSTS = hosts_of(8765)
HERE = {"host": "127.0.0.1:8765"}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", HERE),
        ("GET", {"host": "localhost:8765"}),
        ("GET", {**HERE, "origin": ORIGIN, "sec-fetch-site": "same-origin"}),
        ("GET", {**HERE, "sec-fetch-site": "none"}),
        ("POST", {**HERE, "origin": ORIGIN}),
        ("POST", {"host": "localhost:8765", "origin": "http://localhost:8765"}),
    ],
)
def test_the_page_itself_is_answered(method: str, headers: dict[str, str]) -> None:
    assert refusal(method, headers, HOSTS) is None


@pytest.mark.parametrize(
    ("method", "headers", "why"),
    [
        ("GET", {}, "hosts"),
        ("GET", {"host": "evil.example"}, "hosts"),
        ("GET", {"host": "evil.example:8765"}, "hosts"),
        ("GET", {"host": "127.0.0.1"}, "hosts"),
        ("GET", {"host": "127.0.0.1:8766"}, "hosts"),
        ("GET", {"host": "127.0.0.1:8765.evil.example"}, "hosts"),
        ("GET", {**HERE, "origin": "http://evil.example"}, "other sites"),
        ("GET", {**HERE, "origin": "null"}, "other sites"),
        ("GET", {**HERE, "origin": "https://127.0.0.1:8765"}, "other sites"),
        ("GET", {**HERE, "origin": "http://127.0.0.1:9000"}, "other sites"),
        ("GET", {**HERE, "sec-fetch-site": "cross-site"}, "own page"),
        ("GET", {**HERE, "sec-fetch-site": "same-site"}, "own page"),
        ("POST", HERE, "name its origin"),
        ("POST", {**HERE, "origin": ""}, "other sites"),
        ("DELETE", HERE, "name its origin"),
    ],
)
def test_anybody_else_is_refused_with_the_reason(method: str, headers: dict[str, str], why: str) -> None:
    assert why in (refusal(method, headers, HOSTS) or "")


@pytest.mark.parametrize("path", ["/", "/explore.js", "/api/about", "/api/chats/none", "/nowhere"])
def test_every_answer_forbids_what_the_page_does_not_need(page: TestClient, path: str) -> None:
    headers = page.get(path).headers
    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}])
def test_a_refused_request_reaches_no_route(page: TestClient, headers: dict[str, str]) -> None:
    answer = page.post("/api/paste", json={"text": "User: a\nAssistant: b"}, headers=headers)
    assert answer.status_code == 403
    assert answer.text.count("\n") == 1
    assert page.get("/api/about").json()["chats"] == []


def test_the_page_names_no_other_address_and_has_no_inline_code(page: TestClient) -> None:
    texts = [page.get(path).text for path in ("/", "/explore.js", "/explore.css")]
    assert not any("http://" in text or "https://" in text or "url(" in text or "@import" in text for text in texts)
    assert "style=" not in texts[0]
    assert texts[0].count("<script") == texts[0].count('<script src="/explore.js" defer></script>') == 1
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert sink not in texts[1]
