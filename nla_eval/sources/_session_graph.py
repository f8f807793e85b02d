"""The lines of a coding agent's session file as what they are: turns that follow turns, in contexts that begin anew.

In: lines with parents. Out: contexts, each a tree of turns. A turn is one answer of the model, whatever number of lines
it was written in, with the results of its calls; or one message of the user. So parallel calls, hooks and results that
hang on different lines of one answer are no forks: only a turn that was written again is one. A context begins where
the model's did: at a root, at another agent's first line, after a compaction and after a clear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._base import as_text


@dataclass(frozen=True)
class Preserved:
    """Messages that a compaction kept: they follow the summary in the new context."""

    uuids: tuple[str, ...] = ()
    head: str | None = None
    tail: str | None = None
    anchor: str | None = None
    """The line that they follow; the summary where none is named."""


@dataclass(frozen=True)
class Line:
    """One line of a session file that stands in its graph."""

    uuid: str
    number: int
    parent: str | None
    kind: str
    """"user", "assistant", or anything else: such lines are passed through."""
    message: Mapping[str, Any] = field(default_factory=dict)
    agent: str = ""
    """Which sub-agent's; empty for the main conversation."""
    session: str = ""
    by_client: bool = False
    """Words that the program wrote in the assistant's place."""
    aside: bool = False
    """A user's message that came while the agent worked, or that a hook wrote: the turn goes on beside it."""
    begins: bool = False
    """Whether a new context begins with this line: a summary, or a compaction's boundary."""
    clears: bool = False
    """Whether a new context begins after this line."""
    preserved: Preserved | None = None

    @property
    def talks(self) -> bool:
        """Whether it is a message."""
        return self.kind in ("user", "assistant")

    @property
    def answer(self) -> str | None:
        """The id of the model's answer that this line is a part of."""
        given = self.message.get("id")
        return as_text(given) if self.kind == "assistant" and given is not None else None

    @property
    def results(self) -> set[str]:
        """Calls that it answers."""
        return (
            {as_text(part.get("tool_use_id")) for part in self._parts("tool_result")} if self.kind == "user" else set()
        )

    @property
    def calls(self) -> set[str]:
        """Calls that it makes."""
        return {as_text(part.get("id")) for part in self._parts("tool_use")} if self.kind == "assistant" else set()

    def _parts(self, kind: str) -> Iterator[Mapping[str, Any]]:
        content = self.message.get("content")
        for part in content if isinstance(content, list) else []:
            if isinstance(part, Mapping) and part.get("type") == kind:
                yield part


@dataclass(eq=False)
class Turn:
    """One answer with the results of its calls, or one message of the user."""

    parent: Turn | None
    lines: list[Line]
    results: list[Line] = field(default_factory=list)
    asides: list[Line] = field(default_factory=list)
    children: list[Turn] = field(default_factory=list)
    newest: int = -1
    """The number of the last answer in it and in what follows it."""

    @property
    def whole(self) -> list[Line]:
        """Its lines as the model saw them: the answer, the results, what came meanwhile."""
        return [*_sorted(self.lines), *_sorted(self.results), *_sorted(self.asides)]

    def holds(self, line: Line) -> bool:
        """Whether a line of an answer belongs to this one."""
        return line.answer is not None and self.lines[0].answer == line.answer and self.lines[0].agent == line.agent


@dataclass(eq=False)
class Context:
    """What a model had before it from one beginning on."""

    root: Turn
    preserved: Preserved | None = None


@dataclass
class Graph:
    """The contexts of a file in the order of their first lines, and what found no place in them."""

    contexts: list[Context] = field(default_factory=list)
    circles: int = 0
    """Lines that are, or hang on, their own ancestors."""
    torn: int = 0
    """Lines whose parent is not in the file."""
    again: int = 0
    """Second results of one call."""
    clears: int = 0


def graph_of(lines: Sequence[Line]) -> Graph:
    """The graph of a file's lines, whose uuids are unique."""
    made = _Builder({line.uuid: line for line in lines})
    return made.build()


def path_to(turn: Turn) -> list[Turn]:
    """The turns from the context's root to this one."""
    path = [turn]
    while path[-1].parent is not None:
        path.append(path[-1].parent)
    return path[::-1]


def leaves(root: Turn) -> list[Turn]:
    """The last turns of every branch, in order."""
    return [turn for turn in turns_below(root) if not turn.children]


def turns_below(root: Turn) -> Iterator[Turn]:
    """A turn and all that follow it, each branch to its end before the next."""
    waiting = [root]
    while waiting:
        turn = waiting.pop()
        waiting.extend(reversed(turn.children))
        yield turn


def newest_leaf(root: Turn) -> Turn:
    """The last turn of the branch with the newest answer; of branches without one the first."""
    turn = root
    while turn.children:
        turn = max(reversed(turn.children), key=lambda child: child.newest)
    return turn


class _Builder:
    def __init__(self, lines: Mapping[str, Line]) -> None:
        self.lines = lines
        self.graph = Graph()
        self.turn_of: dict[str, Turn] = {}
        self.context_of: dict[Turn, Context] = {}
        self.answered: dict[Turn, set[str]] = {}
        self.by_answer: dict[tuple[Turn | None, str], Turn] = {}
        self.pieces: dict[str, list[Line]] = {}
        for line in lines.values():
            if line.answer is not None:
                self.pieces.setdefault(line.answer, []).append(line)
        self.begins: dict[str, Preserved | None] = {}
        """Of lines after which no message of the new context stands yet: what the compaction kept."""

    def build(self) -> Graph:
        parents = self._parents()
        children: dict[str | None, list[str]] = {}
        for uuid in self.lines:
            children.setdefault(parents[uuid], []).append(uuid)
        waiting, reached = children.get(None, [])[::-1], 0
        while waiting:
            uuid = waiting.pop()
            reached += 1
            self._place(self.lines[uuid], parents[uuid])
            waiting.extend(reversed(children.get(uuid, [])))
        self.graph.circles = len(self.lines) - reached
        for turn in self.context_of:
            self._fold_asides(turn)
        for turn in reversed(list(self.context_of)):
            own = [line.number for line in turn.lines if line.kind == "assistant" and not line.by_client]
            turn.newest = max([*own, *(child.newest for child in turn.children)], default=-1)
        self.graph.contexts.sort(key=lambda context: min(line.number for line in context.root.whole))
        return self.graph

    def _parents(self) -> dict[str, str | None]:
        """Of each line the parent, which is in the file. Where it is not, a result follows its call, and a piece of an
        answer the pieces before; any other line begins a context of its own."""
        calls: dict[tuple[str, str], str] = {}
        pieces: dict[tuple[str, str], str] = {}
        found: dict[str, str | None] = {}
        for uuid, line in self.lines.items():
            parent = line.parent
            if parent is not None and parent not in self.lines:
                self.graph.torn += 1
                known = [calls[call, line.agent] for call in sorted(line.results) if (call, line.agent) in calls]
                parent = known[0] if known else pieces.get((line.answer or "", line.agent))
            found[uuid] = parent
            calls.update({(call, line.agent): uuid for call in line.calls})
            if line.answer is not None:
                pieces[line.answer, line.agent] = uuid
        return found

    def _place(self, line: Line, parent: str | None) -> None:
        above = self.turn_of.get(parent or "")
        kept: Preserved | None = None
        cut = line.begins or (parent is not None and self.lines[parent].agent != line.agent)
        if parent in self.begins:
            cut, kept = True, self.begins[parent]
        if line.clears and above is not None and not cut and _has_answer(above):
            self.graph.clears += 1
            self.begins[line.uuid] = None
            return
        if not line.talks:
            if cut or line.begins:
                self.begins[line.uuid] = line.preserved or kept
            elif above is not None:
                self.turn_of[line.uuid] = above
            return
        self.turn_of[line.uuid] = self._turn(line, None if cut else above, kept)

    def _turn(self, line: Line, above: Turn | None, kept: Preserved | None) -> Turn:
        """The turn that a line belongs to: the one it follows, or a new one."""
        calls = {call for held in above.lines for call in held.calls} if above else set()
        if above and (answers := line.results) and (answers & calls or self._later_call(above, answers)):
            done = self.answered.setdefault(above, set())
            if answers <= done:
                self.graph.again += 1
            else:
                done |= answers
                above.results.append(line)
            return above
        if above and above.holds(line):
            above.lines.append(line)
            return above
        beside = self.by_answer.get((above, line.answer)) if above and line.answer is not None else None
        if beside is not None and beside.holds(line):
            beside.lines.append(line)
            return beside
        turn = Turn(above, [line])
        if line.answer is not None:
            self.by_answer[above, line.answer] = turn
        if above is not None:
            above.children.append(turn)
            self.context_of[turn] = self.context_of[above]
        else:
            self.context_of[turn] = Context(turn, kept)
            self.graph.contexts.append(self.context_of[turn])
        return turn

    def _later_call(self, above: Turn, answers: set[str]) -> bool:
        """Whether results are of a call in a piece of the same answer that comes later in the walk."""
        pieces = self.pieces.get(above.lines[0].answer or "", [])
        return any(above.holds(line) and line.calls & answers for line in pieces)

    def _fold_asides(self, turn: Turn) -> None:
        """What was said beside a turn that went on is a part of what the model saw next, not a branch."""
        answers = [child.lines[0].number for child in turn.children if child.lines[0].kind == "assistant"]
        answered = max(answers, default=-1)
        aside = {child for child in turn.children if not child.children and _is_aside(child, answered)}
        turn.asides += [line for child in turn.children if child in aside for line in child.lines]
        turn.children = [child for child in turn.children if child not in aside]


def _is_aside(turn: Turn, answered: int) -> bool:
    """Whether a turn that nothing follows came while the agent worked: it says so, or the agent went on after it.

    A turn that the user took back is followed by another one of the user's.

    Args:
        turn: Beside others.
        answered: The line of the newest answer beside it.
    """
    return all(line.aside or (line.kind == "user" and line.number < answered) for line in turn.lines)


def _has_answer(turn: Turn | None) -> bool:
    while turn is not None:
        if turn.lines[0].kind == "assistant":
            return True
        turn = turn.parent
    return False


def _sorted(lines: list[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.number)
