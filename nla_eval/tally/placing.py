"""Where in a message a read token stands: a reading keeps the rendered text before its token, not an offset.

In: a message's text and a reading's context. Out: the token's span in that text, or None. Pure. A token that cannot be
placed surely (a template's own token, a tool call rendered in another notation) is not guessed."""

from __future__ import annotations

_NEAR = (240, 80, 40)
"""Lengths of the context's end that are searched for, longest first: rendering may differ further back."""


def place(text: str, context: str, token: str, after: int = 0) -> tuple[int, int] | None:
    """The span of `token` in `text`.

    Args:
        text: One part of a message.
        context: Rendered characters that end with the token. They may begin before the message.
        token: The token's text.
        after: The token ends after this offset: where the transcript's last placed token ended. It tells repeated
            passages apart, since tokens are placed in order.

    Returns:
        Start and end, or None if the context does not end in this text.
    """
    if not token or not text or not context.endswith(token):
        return None
    for length in _NEAR:
        if length <= len(context) or length == _NEAR[0]:
            end = _find(text, context[-length:], after)
            if end is not None:
                return end - len(token), end
    return _at_the_start(text, context, token)


def _find(text: str, passage: str, after: int) -> int | None:
    """End of the first occurrence of `passage` that ends after `after`, else of the first one."""
    at = text.find(passage, max(0, after + 1 - len(passage)))
    at = text.find(passage) if at < 0 else at
    return None if at < 0 else at + len(passage)


def _at_the_start(text: str, context: str, token: str) -> tuple[int, int] | None:
    """The span if the context begins before the text: then the text begins with the context's end."""
    skipped = len(text) - len(text.lstrip())  # templates strip messages
    for begin in (0, skipped):
        for length in range(min(len(context) - 1, _NEAR[-1], len(text) - begin), len(token) - 1, -1):
            if text.startswith(context[-length:], begin):
                return begin + length - len(token), begin + length
    return None
