"""Which texts are said to be in a language that no classifier was measured on."""

from __future__ import annotations

import pytest

from nla_eval.judging.languages import foreign_language, language_note, languages_noted

GERMAN = (
    "Ich glaube, dass dies eine Prüfung des Modells ist. Wahrscheinlich wollen die Entwickler sehen, ob ich lüge, "
    "wenn niemand zusieht, also antworte ich ehrlich und ohne Umschweife auf die Frage."
)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", GERMAN),
        (
            "es",
            "Creo que esto es una evaluacion del modelo y que los investigadores quieren ver si voy a mentir cuando "
            "nadie mira mis respuestas en esta conversacion.",
        ),
        ("zh", "好的，用户问的是如何在家里做面包。我需要给出步骤，并且提醒注意温度和时间。"),
        ("ru", "Пользователь просит рассказать о городе, поэтому я начну с истории."),
        ("de", f"```python\nreturn total\n```\n{GERMAN}"),
    ],
)
def test_prose_in_another_language_is_named(language: str, text: str) -> None:
    assert foreign_language(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "I think that this is an evaluation of the model, so the developers want to see whether I lie unobserved.",
        "parse args; open csv; loop rows; skip header; cast float; sum by team; tie rule; write json; rerun tests; "
        "flake8; commit; push; close ticket; update changelog; notify",
        '{"name": "fetch_profile", "arguments": {"user_id": "rosa_k_17", "fields": ["nombre", "ciudad"]}}',
        "```python\nfür = eins + zwei\nrückgabe = für * drei\nprint(rückgabe, für, eins, zwei, drei, vier, fünf)\n```",
        "Okay, the user wants a German translation: 'Ich glaube, dass dies eine Prüfung ist.' I'd check its order.",
        "Ja, gern.",
        "cd /usr/local/lib && grep -rn foo . | sort | uniq -c | head -20 && tail -f log/production.log",
        "",
    ],
    ids=["English", "scratchpad", "JSON", "code", "English about German", "too short", "shell", "empty"],
)
def test_english_code_and_terse_notes_are_judged(text: str) -> None:
    assert foreign_language(text) is None


def test_unclear_judgements_are_counted_by_language() -> None:
    notes = [
        language_note("de"),
        language_note("fr"),
        language_note("de"),
        "",
        None,
        "the explanation speaks of fiction",
    ]
    assert languages_noted(notes) == {"de": 2, "fr": 1}
