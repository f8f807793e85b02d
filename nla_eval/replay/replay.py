"""Renders a transcript with a target's own chat template to token ids, and finds the source of each token: its message,
role, channel, turn and characters.

In: a `Transcript` and a tokenizer. Out: a `Replay`. The template needs no marks. This module loads no weights and knows
nothing of positions or packs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from inspect_ai.model import ChatMessageAssistant
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..errors import InputError, TemplateError
from ..transcript import Transcript
from .align import Alignment, Span, align
from .composition import normal_form, rewritten_runs
from .template import Plan, plans, render_messages, template_source
from .types import WINDOW_POLICIES, Channel, Replay, Window, window_policy
from .window import head_of, placed, tails

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ReplayConfig:
    """Length limit of a replay, and what to do with longer transcripts."""

    max_tokens: int
    """The target's context length. Tokens beyond it are dropped and counted in `Replay.window`."""
    window: str = "head"
    """If a transcript is longer: keep its head, keep its tail, or skip it. One of `WINDOW_POLICIES`."""
    add_generation_prompt: bool = False
    """Whether to end with the header of a new assistant turn."""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InputError(f"max_tokens is {self.max_tokens}; expected the target's context length, at least 1")
        object.__setattr__(self, "window", window_policy(self.window))
        if self.window not in WINDOW_POLICIES:
            raise InputError(f"unknown window policy '{self.window}'; known: {', '.join(WINDOW_POLICIES)}")


def replay(transcript: Transcript, tokenizer: PreTrainedTokenizerBase, config: ReplayConfig) -> Replay:
    """Render and tokenise `transcript` as the target would have read it.

    Only the template's own special tokens are special. A look-alike such as "<|im_end|>" inside a message is tokenised
    as ordinary characters. Without look-alikes the ids equal `tokenizer.apply_chat_template(messages, tokenize=True)`.
    Token spans tile the rendered text: consecutive tokens touch. If byte-level BPE splits one character over several
    tokens, each of them spans that character; the same if a normaliser rewrites several characters together, as Qwen's
    does with a letter and its marks. A token across the border of template and content counts as content.
    Longer transcripts than `config.max_tokens` are cut by `config.window`, and a note says so.

    Raises:
        InputError: the transcript has no messages or no assistant turn, the tokenizer gives no character offsets, or
            the window keeps nothing of the transcript.
        TemplateError: the chat template renders it neither natively nor with a declared fallback.
    """
    _check(transcript, tokenizer, config)
    whole = _whole(transcript, tokenizer, config)
    if len(whole) <= config.max_tokens:
        return whole
    if config.window == "head":
        return head_of(whole, config.max_tokens)
    if config.window == "tail":
        return _tail(whole, transcript, tokenizer, config)
    raise InputError(
        f"transcript {transcript.id}: it has {len(whole):,} tokens, the target reads {config.max_tokens:,}, and the "
        "window is 'skip'; choose head or tail to read a part of it"
    )


def _whole(transcript: Transcript, tokenizer: PreTrainedTokenizerBase, config: ReplayConfig) -> Replay:
    source = template_source(tokenizer)
    plan, aligned = _render(transcript, tokenizer, source)
    text, prompt_start = _with_generation_prompt(plan, aligned.text, tokenizer, config)
    layout = _Layout.of(aligned, text, prompt_start, tokenizer)
    tokens = _tokenise(text, layout.content, tokenizer)
    where = layout.owner(tokens)
    turn_of = _turns(transcript)
    message = layout.message[where]
    return Replay(
        transcript_id=transcript.id,
        transcript_digest=transcript.digest,
        text=text,
        token_ids=tokens.ids,
        message=message,
        channel=layout.channel[where],
        turn=np.where(message >= 0, turn_of[message], np.where(where >= prompt_start, turn_of[-2], -1)).astype(
            np.int32
        ),
        char_start=tokens.start,
        char_end=tokens.end,
        special=tokens.special,
        roles=tuple(str(m.role) for m in transcript.messages),
        window=Window("none", len(tokens.ids), len(tokens.ids)),
        template_hash=hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest(),
        notes=tuple(dict.fromkeys((*plan.notes, *aligned.notes))),
    )


def _tail(whole: Replay, transcript: Transcript, tokenizer: PreTrainedTokenizerBase, config: ReplayConfig) -> Replay:
    """The longest tail that fits, rendered as a separate conversation."""
    sizes = np.bincount(whole.message[whole.message >= 0], minlength=len(whole.roles))
    before = np.concatenate([[0], np.cumsum(sizes)])
    room = config.max_tokens
    for opening, start in tails(whole.roles):
        size = int(sizes[list(opening)].sum() + before[-1] - before[start])
        if size > room or "assistant" not in whole.roles[start:]:
            continue
        kept = [*opening, *range(start, len(whole.roles))]
        messages = [transcript.messages[index] for index in kept]
        part = _whole(transcript.model_copy(update={"messages": messages}), tokenizer, config)
        if len(part) <= config.max_tokens:
            return placed(part, whole, np.array(kept, dtype=np.int32), _turns(transcript))
        # The template adds text outside the messages, so a tail must be shorter by that much.
        room = size - (len(part) - config.max_tokens)
    raise InputError(
        f"transcript {transcript.id}: its system message, first user message and last message do not fit into "
        f"{config.max_tokens:,} tokens, and the window 'tail' cuts no message; choose head"
    )


def _check(transcript: Transcript, tokenizer: PreTrainedTokenizerBase, config: ReplayConfig) -> None:
    if not transcript.messages:
        raise InputError(f"transcript {transcript.id}: it has no messages; expected at least one assistant turn")
    answered = config.add_generation_prompt or any(isinstance(m, ChatMessageAssistant) for m in transcript.messages)
    if not answered:
        raise InputError(f"transcript {transcript.id}: it has no assistant turn, so there is nothing to measure")
    if not tokenizer.is_fast:
        raise InputError(f"{type(tokenizer).__name__} gives no character offsets; use the target's fast tokenizer")


def _render(transcript: Transcript, tokenizer: PreTrainedTokenizerBase, source: str) -> tuple[Plan, Alignment]:
    """The first plan that loses only thinking, which templates drop by design; else the plan that loses least."""
    best: tuple[int, Plan, Alignment] | None = None
    refusal: TemplateError | None = None
    for plan in plans(transcript, tokenizer, source):
        try:
            aligned = align(plan, tokenizer)
        except TemplateError as error:
            refusal = refusal or error
            continue
        lost = sum(len(p.value) for p in aligned.lost if p.channel is not Channel.THINKING)
        if best is None or lost < best[0]:
            best = (lost, plan, aligned)
        if lost == 0:
            break
    if best is None:
        raise TemplateError(
            f"transcript {transcript.id}: the chat template refuses it, also with tool calls as text: {refusal}"
        )
    _refuse_hidden_look_alikes(transcript.id, best[2], tokenizer)
    return best[1], best[2]


def _refuse_hidden_look_alikes(name: str, aligned: Alignment, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise TemplateError if a special-token look-alike in content that cannot be followed might be taken for the
    template's own token."""
    pattern = _special_pattern(tokenizer)
    if pattern is not None and any(pattern.search(piece.value) for piece in aligned.unfollowed):
        raise TemplateError(
            f"transcript {name}: the chat template rewrites content that holds special-token look-alikes, "
            "so the template's own special tokens cannot be told apart; leave this transcript out"
        )


def _with_generation_prompt(
    plan: Plan, text: str, tokenizer: PreTrainedTokenizerBase, config: ReplayConfig
) -> tuple[str, int]:
    """(text with the header of the next assistant turn if requested, start of that header)."""
    if not config.add_generation_prompt:
        return text, len(text)
    prompted = plan.render(tokenizer, add_generation_prompt=True)
    if not prompted.startswith(text):
        raise TemplateError("the chat template writes a conversation differently when asked for a generation prompt")
    return prompted, len(text)


def _turns(transcript: Transcript) -> NDArray[np.int32]:
    """Turn of each message, followed by the last turn and -1, so that index -1 means "before any turn" and index -2
    means "after the last message"."""
    starts = np.array([m.role == "user" for m in transcript.messages])
    turns = np.cumsum(starts) - 1
    return np.concatenate([turns, [turns[-1], -1]]).astype(np.int32)


@dataclass(frozen=True)
class _Layout:
    """For each character of the rendered text: its message, its channel, and whether it is content."""

    message: NDArray[np.int32]
    channel: NDArray[np.int8]
    content: NDArray[np.bool_]

    @classmethod
    def of(cls, aligned: Alignment, text: str, prompt_start: int, tokenizer: PreTrainedTokenizerBase) -> _Layout:
        message = np.full(len(text), -1, dtype=np.int32)
        channel = np.full(len(text), Channel.TEMPLATE, dtype=np.int8)
        opening, specials = _opening_special(tokenizer), _special_pattern(tokenizer)
        last: Span | None = None
        for span in aligned.spans:
            before = last.end if last else 0
            if last is None or last.piece.message != span.piece.message:
                split = before + _header_start(text[before : span.start], opening, specials, first=last is None)
            else:
                split = before
            if last is not None:
                message[before:split] = last.piece.message
            message[split : span.end] = span.piece.message
            channel[span.start : span.end] = span.piece.channel
            last = span
        if last is not None:
            message[last.end : prompt_start] = last.piece.message
        return cls(message, channel, channel != Channel.TEMPLATE)

    def owner(self, tokens: _Tokens) -> NDArray[np.int64]:
        """For each token, the character that decides its source: its first content character, else its first one.

        A special token belongs to the template even if its span includes a space before it.
        """
        size = len(self.content)
        following = np.where(self.content, np.arange(size), size)
        following = np.minimum.accumulate(following[::-1])[::-1]
        start = np.minimum(tokens.start, max(size - 1, 0))
        ordinary = np.where(following[start] < tokens.end, following[start], start)
        return np.where(tokens.special, tokens.end - 1, ordinary).astype(np.int64)


def _header_start(literal: str, opening: str | None, specials: re.Pattern[str] | None, *, first: bool) -> int:
    """Start of the second message's header in the template text between two messages.

    The header starts at the special token that opens a turn. In a template with plain-text headers it starts after the
    special token that closes the earlier message, or at the next line.
    """
    if opening and opening in literal:
        return literal.rfind(opening)
    marks = list(specials.finditer(literal)) if specials else []
    if first:
        return marks[-1].end() if marks else 0
    if len(marks) > 1:
        return marks[1].start()
    start = marks[0].end() if marks else 0
    after_space = start + len(literal[start:]) - len(literal[start:].lstrip())
    line_end = -1 if marks else literal.find("\n", after_space)
    return line_end if line_end >= 0 else after_space


def _opening_special(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The special token that opens a turn, taken from the template's generation prompt."""
    user = [{"role": "user", "content": "a"}]
    specials = _special_pattern(tokenizer)
    try:
        plain = render_messages(tokenizer, user)
        prompted = render_messages(tokenizer, user, add_generation_prompt=True)
    except TemplateError:
        return None
    found = specials.search(prompted, len(plain)) if specials and prompted.startswith(plain) else None
    return found[0] if found else None


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    added = {i: token.content for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def _special_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    words = sorted((w for w in _special_tokens(tokenizer).values() if w), key=len, reverse=True)
    return re.compile("|".join(re.escape(word) for word in words)) if words else None


@dataclass(frozen=True)
class _Tokens:
    ids: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    special: NDArray[np.bool_]


def _tokenise(text: str, content: NDArray[np.bool_], tokenizer: PreTrainedTokenizerBase) -> _Tokens:
    """Token ids of `text`, with only the special tokens outside `content` as special.

    If nothing in the content looks like a special token, the whole text is tokenised at once, so that the ids are the
    tokenizer's own. Otherwise the regions between the template's special tokens are tokenised one by one.
    """
    specials = _special_tokens(tokenizer)
    whole = _encode(text, tokenizer)
    special = np.isin(whole.ids, np.fromiter(specials, dtype=np.int32, count=len(specials)))
    inside = np.concatenate([[0], np.cumsum(content)])
    if not np.any(special & (inside[whole.end] > inside[whole.start])):
        tokens = _Tokens(whole.ids, whole.start, whole.end, special)
    else:
        tokens = _tokenise_regions(text, inside, tokenizer)
    return _tile(_with_whole_runs(tokens, text, tokenizer), text)


def _with_whole_runs(tokens: _Tokens, text: str, tokenizer: PreTrainedTokenizerBase) -> _Tokens:
    """Each token that writes a part of a rewritten run spans all of that run.

    The tokenizer cuts out its added tokens before it normalises, so no run reaches into one of them.
    """
    form = None if text.isascii() else normal_form(tokenizer.backend_tokenizer)
    if form is None or not len(tokens.ids):
        return tokens
    apart = np.flatnonzero(np.isin(tokens.ids, list(tokenizer.added_tokens_decoder)))
    lows, highs = [0, *tokens.end[apart].tolist()], [*tokens.start[apart].tolist(), len(text)]
    found = [
        (low + at, low + to)
        for low, high in zip(lows, highs, strict=True)
        for at, to in rewritten_runs(text[low:high], form)
    ]
    if not found:
        return tokens
    begin, stop = np.array(found, dtype=np.int32).T
    first = np.searchsorted(stop, tokens.start, side="right")
    last = np.searchsorted(begin, tokens.end, side="left") - 1
    touched = (first <= last) & ~np.isin(np.arange(len(tokens.ids)), apart)
    start, end = tokens.start.copy(), tokens.end.copy()
    start[touched] = np.minimum(start[touched], begin[first[touched]])
    end[touched] = np.maximum(end[touched], stop[last[touched]])
    return _Tokens(tokens.ids, start, end, tokens.special)


def _tokenise_regions(text: str, inside: NDArray[np.int64], tokenizer: PreTrainedTokenizerBase) -> _Tokens:
    ids_of = {word: token_id for token_id, word in _special_tokens(tokenizer).items()}
    pattern, plain = _special_pattern(tokenizer), _plain_text(tokenizer)
    runs: list[_Tokens] = []
    at = 0
    for mark in pattern.finditer(text) if pattern else ():
        if inside[mark.end()] > inside[mark.start()]:
            continue
        runs.append(_shift(plain.encode(text[at : mark.start()]), at))
        runs.append(_one(ids_of[mark[0]], mark.start(), mark.end()))
        at = mark.end()
    runs.append(_shift(plain.encode(text[at:]), at))
    return _Tokens(
        *(np.concatenate([getattr(run, name) for run in runs]) for name in ("ids", "start", "end", "special"))
    )


def _encode(text: str, tokenizer: PreTrainedTokenizerBase) -> _Tokens:
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
    )
    return _ordinary(encoded["input_ids"], encoded["offset_mapping"])


def _ordinary(ids: list[int], offsets: list[tuple[int, int]]) -> _Tokens:
    spans = np.array(offsets, dtype=np.int32).reshape(-1, 2)
    return _Tokens(np.array(ids, dtype=np.int32), spans[:, 0], spans[:, 1], np.zeros(len(ids), dtype=np.bool_))


class _PlainText:
    """Encodes text without special tokens, with a copy of the tokenizer's backend.

    The tokenizer's own `split_special_tokens=True` changes its state for every thread that uses it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.vocabulary = len(tokenizer)
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True

    def encode(self, text: str) -> _Tokens:
        encoding = self._backend.encode(text, add_special_tokens=False)
        return _ordinary(encoding.ids, encoding.offsets)


_PLAIN_TEXT: WeakKeyDictionary[PreTrainedTokenizerBase, _PlainText] = WeakKeyDictionary()


def _plain_text(tokenizer: PreTrainedTokenizerBase) -> _PlainText:
    plain = _PLAIN_TEXT.get(tokenizer)
    if plain is None or plain.vocabulary != len(tokenizer):
        plain = _PLAIN_TEXT[tokenizer] = _PlainText(tokenizer)
    return plain


def _shift(run: _Tokens, by: int) -> _Tokens:
    return _Tokens(run.ids, run.start + np.int32(by), run.end + np.int32(by), run.special)


def _one(token_id: int, start: int, end: int) -> _Tokens:
    return _Tokens(
        np.array([token_id], np.int32), np.array([start], np.int32), np.array([end], np.int32), np.array([True])
    )


def _tile(tokens: _Tokens, text: str) -> _Tokens:
    """Give characters without a token to a neighbouring token, so that consecutive tokens touch.

    Spaces go to the token after them, because some tokenizers omit a leading space. Other characters go to the token
    before them: a normaliser that composes characters (Qwen's NFC) reports only the first of them, so a combining
    accent or the rest of a Hangul syllable belongs to the token with its beginning, never to a following special token.
    """
    if not len(tokens.ids):
        return tokens
    end = np.maximum.accumulate(tokens.end)
    end[-1] = len(text)
    for index in np.flatnonzero(tokens.start[1:] > end[:-1]):
        end[index] += len(text[end[index] : tokens.start[index + 1]].rstrip())
    before = np.concatenate([[0], end[:-1]]).astype(np.int32)
    return _Tokens(tokens.ids, np.minimum(tokens.start, before), end, tokens.special)
