"""Which runs of characters a normal form rewrites together, and which form a tokenizer reads."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers

from nla_eval.replay.composition import Form, normal_form, rewritten_runs

RUNS: dict[str, tuple[Form, str, list[str]]] = {
    "nothing to compose": ("NFC", "plain, caf\u00e9 \ud55c", []),
    "a letter and its mark": ("NFC", "cafe\u0301 noir", ["e\u0301"]),
    "a mark past another": ("NFC", "xa\u3099\u0301y", ["a\u3099\u0301"]),
    "marks out of order": ("NFC", "a\u0301\u0323", ["a\u0301\u0323"]),
    "marks that stay apart": ("NFC", "x\u0323\u0301", []),
    "jamo, two syllables": ("NFC", "\u1112\u1161\u11ab\u1100\u116e", ["\u1112\u1161\u11ab", "\u1100\u116e"]),
    "a final after a syllable": ("NFC", "\uac00\u11a8", ["\uac00\u11a8"]),
    "composition exclusion": ("NFC", "\u0915\u093c", []),
    "vowel sign of class 0": ("NFC", "\u09c7\u09be", ["\u09c7\u09be"]),
    "half-width voicing mark": ("NFKC", "\uff76\uff9e", ["\uff76\uff9e"]),
    "the same, left alone": ("NFC", "\uff76\uff9e", []),
    "sorted, not composed": ("NFD", "a\u0301\u0323 e\u0301", ["a\u0301\u0323"]),
}


@pytest.mark.parametrize(("form", "text", "runs"), RUNS.values(), ids=RUNS.keys())
def test_runs(form: Form, text: str, runs: list[str]) -> None:
    assert [text[start:end] for start, end in rewritten_runs(text, form)] == runs


@given(st.text(alphabet=st.characters(max_codepoint=0x1FFFF, exclude_categories=("Cs",)), max_size=40))
def test_a_text_is_normalised_run_by_run(text: str) -> None:
    """What is outside the runs is normalised character by character, so its offsets are exact."""
    written, at = "", 0
    for start, end in rewritten_runs(text, "NFC"):
        written += "".join(unicodedata.normalize("NFC", char) for char in text[at:start])
        written += unicodedata.normalize("NFC", text[start:end])
        at = end
    assert written + "".join(unicodedata.normalize("NFC", char) for char in text[at:]) == unicodedata.normalize(
        "NFC", text
    )


@pytest.mark.parametrize(
    ("normaliser", "form"),
    [
        (None, None),
        (normalizers.NFC(), "NFC"),
        (normalizers.NFKC(), "NFKC"),
        (normalizers.NFD(), "NFD"),
        (normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]), None),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Prepend("\u2581")]), "NFC"),
    ],
)
def test_the_form_is_what_the_normaliser_does(normaliser: normalizers.Normalizer | None, form: Form | None) -> None:
    backend = Tokenizer(models.BPE())
    if normaliser is not None:
        backend.normalizer = normaliser
    assert normal_form(backend) == form
