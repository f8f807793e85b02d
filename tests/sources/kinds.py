"""Twenty kinds of inputs that were read wrongly until 2026-11-29: what is right, what was seen then, what is read now.

`python -m tests.sources.kinds` prints the table of docs/sources.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nla_eval.sources import Skipped, SourceOptions, read
from nla_eval.transcript import Arm, Author, Transcript, content_parts

INPUTS = Path(__file__).resolve().parent.parent / "data" / "bug_inputs"


class Kind(NamedTuple):
    """One kind of input."""

    files: tuple[str, ...]
    what: str
    right: str
    before: str


KINDS = (
    Kind(("fewshot.eval",), "few-shot answers, prefills", "never in V", "V 25 %, both hits planted"),
    Kind(("reasoning_encrypted_summary.json",), "a summary beside encrypted thinking", "thinking", "ciphertext in V"),
    Kind(("reasoning_details.jsonl", "prompt_cot_response.jsonl"), "thinking under another key", "thinking", "gone"),
    Kind(("gemini_thought.jsonl",), "thought parts of Gemini", "thinking", "speech"),
    Kind(("audit.eval",), "a log with an auditor and a target", "the target's 2 turns", "the auditor's turns"),
    Kind(("messages_response.jsonl", "input_output.jsonl"), "an answer beside the messages", "appended", "dropped"),
    Kind(("messages_system_prompt.jsonl",), "a system prompt beside the messages", "a system message", "dropped"),
    Kind(("cc_parallel_hooks2.jsonl",), "a fork that is no rewind", "both calls and results", "one call gone"),
    Kind(("cc_folder",), "two sessions of one id", "two transcripts", "one"),
    Kind(("cc_preserved.jsonl", "cc_clear.jsonl"), "compaction, clear", "two contexts each", "turns lost or mixed"),
    Kind(("cc_queued.jsonl",), "user turns queued while the agent works", "in place", "missing"),
    Kind(("truncated.eval",), "answers cut by tokens or a filter", "cut, not judged", "12 of 14 not aware"),
    Kind(("invalidated.json",), "a sample marked invalid", "left out, said", "6 of 6 read"),
    Kind(("refusal.jsonl", "tool_error_str.jsonl"), "words beside the content", "kept", "an empty turn"),
    Kind(("compact_trim.eval",), "one run in stretches", "one run", "16 turns for 7"),
    Kind(("dup_rollouts.jsonl",), "rollouts that share an id", "3, one family", "1"),
    Kind(("one_message_a_line.jsonl", "one_conversation.json"), "bare messages", "one transcript each", "refused"),
    Kind(("responses_items.jsonl",), "items of the Responses API", "read", "refused"),
    Kind(("langchain.jsonl",), "messages of LangChain", "read", "refused"),
    Kind(("gemini_calls.jsonl",), "function calls of Gemini", "read", "refused"),
)


def now(name: str) -> str:
    """What is read of an input: transcripts and families, messages, thinking, calls, authors, cut turns, left out."""
    options = SourceOptions(suite="s", arm=Arm.EVALUATION)
    items = list(read(INPUTS / name, options))
    found = [item for item in items if isinstance(item, Transcript)]
    roles = Counter(message.role for one in found for message in one.messages)
    thinking = sum(
        kind == "thinking" for one in found for message in one.messages for kind, _ in content_parts(message)
    )
    calls = sum(len(getattr(message, "tool_calls", None) or ()) for one in found for message in one.messages)
    authors = Counter(fact.author.value for one in found for fact in one.turn_facts if fact.author != Author.RECORDED)
    cut = sum(fact.cut for one in found for fact in one.turn_facts)
    runs = {one.metadata.get("run", one.id) for one in found}
    counted = {"transcripts": len(found), "runs": len(runs), "families": len({one.family for one in found})}
    counted |= {**roles, "thinking": thinking, "calls": calls, "cut": cut}
    counted |= {f"turns {author}": count for author, count in authors.items()}
    alike = {"runs", "families"} if len(found) == 1 else {"runs"} if len(runs) == len(found) else set()
    facts = [f"{what} {count}" for what, count in counted.items() if count and what not in alike]
    facts += [item.reason.partition(";")[0] for item in items if isinstance(item, Skipped)]
    return ", ".join(facts)


def printed() -> Iterator[str]:
    """The table, in Markdown."""
    yield "| input | kind | right | before | now |"
    yield "|---|---|---|---|---|"
    for kind in KINDS:
        for number, name in enumerate(kind.files):
            said = (kind.what, kind.right, kind.before) if not number else ('"', '"', '"')
            yield f"| {name} | {' | '.join(said)} | {now(name)} |"


if __name__ == "__main__":
    print("\n".join(printed()))
