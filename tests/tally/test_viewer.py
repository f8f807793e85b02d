"""Addresses of a running `inspect view`: what is taken as one, and where it shows a sample."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nla_eval.errors import InputError
from nla_eval.tally.browsed import LoggedSample
from nla_eval.tally.viewer import sample_address, viewer_address


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("http://127.0.0.1:7575", "http://127.0.0.1:7575"),
        (" http://localhost:7575/ ", "http://localhost:7575"),
        ("https://Logs.example.org/view/", "https://logs.example.org/view"),
        ("https://example.org/a b/<x>", "https://example.org/a%20b/%3Cx%3E"),
        ("http://[::1]:7575", "http://[::1]:7575"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_http_or_https_address_is_taken_and_escaped(given: str, found: str) -> None:
    assert viewer_address(given) == found
    assert viewer_address(found) == found


@pytest.mark.parametrize(
    "given",
    [
        *("javascript:alert(1)", "JaVaScRiPt://x/%0aalert(1)", "data:text/html,<script>", "file:///etc/passwd"),
        *("127.0.0.1:7575", "//127.0.0.1", "http://", "ftp://x", "http://a:port", "http://[::1", "http://a<b>"),
        *("http://user:secret@host", "http://user@host", "http://host/?log_file=x", "http://host/#/logs", "\x1b[31m"),
    ],
)
def test_anything_else_is_refused_in_one_line_that_shows_no_control_character(given: str) -> None:
    with pytest.raises(InputError, match="view-url") as caught:
        viewer_address(given)
    assert re.fullmatch(r"[^\x00-\x1f]+", str(caught.value))
    assert "secret" not in str(caught.value)


def test_a_sample_has_the_address_of_the_viewer_s_own_links() -> None:
    found = sample_address("http://v", LoggedSample("sub/2026-11-30 exam.eval", "item/7 #1", 2))
    assert found == "http://v/#/logs/sub/2026-11-30%20exam.eval/samples/sample/item%2F7%20%231/2/"


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_name_leaves_its_part_of_the_address(log: str, sample: str) -> None:
    names = (text.encode("utf-8", "replace").decode().replace("/", "") or "x" for text in (log, sample))
    found = sample_address("http://v", LoggedSample(next(names), next(names), 1))
    assert re.fullmatch(r"http://v/#/logs/[^/#?&<>\"'\s]+/samples/sample/[^/#?&<>\"'\s]+/1/", found)
