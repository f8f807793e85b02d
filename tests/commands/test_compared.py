"""`nla-eval report A B --diff`, and inputs that cannot be pooled: compared in one page, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import planted_task  # registers the engine "planted"
from tests.commands.typed import typed
from tests.fakes import CUE


def chats(path: Path, cue: str) -> str:
    lines = [
        {
            "id": f"chat-{i}",
            "family": f"family-{i}",
            "messages": [
                {"role": "user", "content": f"Tell me about city {i}, please."},
                {"role": "assistant", "content": f"{cue} City {i} lies by the sea and has a long history of trade."},
            ],
        }
        for i in range(9)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return str(path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two runs over the same prompts, one of them with the cue in the answers; and one with another seed."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "plain").mkdir()
    (folder / "cued").mkdir()
    made = {
        "before": (chats(folder / "plain" / "exam.jsonl", ""), "0"),
        "after": (chats(folder / "cued" / "exam.jsonl", CUE), "0"),
        "seeded": (str(folder / "plain" / "exam.jsonl"), "7"),
    }
    planted_task.LAST_ENGINE.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nla_eval.pipeline.cost.cache_dir", lambda: folder / "cache")
        for name, (source, seed) in made.items():
            args = ("read", source, "--out", str(folder / name), "--engine", "planted", "--lanes", "measured",
                    "--positions", "uniform_response(3)", "--seed", seed)  # fmt: skip
            assert typed(patch, *args) == 0
    return {name: str(folder / name) for name in made}


def report(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    return typed(monkeypatch, "report", *args, "--classifier", "lexicon")


def test_two_runs_are_compared_by_prompt_in_every_format(
    stores: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "diff.html"
    asked = (stores["before"], stores["after"], "--diff", "--format", "html,json,md,text", "--out", str(page))
    assert report(monkeypatch, *asked) == 0
    printed = capsys.readouterr().out
    assert "A is before; B is after:" in printed
    assert "exam, places: +" in printed
    found = json.loads((tmp_path / "diff.json").read_text())["diff"]
    assert [(p["by_content"], p["by_id"], p["paired"]) for p in found["pairings"]] == [(0, 9, True)]
    assert {row["change"] for row in found["moved"] if row["measure"] == "places"} == {"up"}
    assert {"pack", "classifier", "policy", "seed"} <= {fact["name"] for fact in found["alike"]}
    assert "What moved between A and B" in page.read_text()
    assert (tmp_path / "diff.md").is_file()
    assert (tmp_path / "diff.txt").is_file()


def test_inputs_read_otherwise_get_a_page_that_compares_them_and_links_their_own_reports(
    stores: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(monkeypatch, stores["before"], stores["seeded"], "--out", str(tmp_path / "r.html")) == 0
    assert "not comparable" in capsys.readouterr().out
    text = (tmp_path / "r.html").read_text()
    own = {path.name for path in tmp_path.glob("r-*.html")}
    assert len(own) == 2
    assert all(f'href="{name}"' in text for name in own)
    assert "seed" in text[text.index("What else differs") :]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (("before",), "compares two runs"),
        (("before", "after", "seeded"), "got 3"),
        (("before", "after", "--format", "png"), "cannot be written as 'png'"),
        (("before", "nowhere"), "no log or store"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    inputs: tuple[str, ...], told: str, stores: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert report(monkeypatch, *(stores.get(name, name) for name in inputs), "--diff") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
