"""Formats numbers and hostile text for a report: percentages, intervals, p-values, visible control characters.

Every number comes from the tally. Text stays plain `str`, so that the template's autoescape turns it into text
nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from nla_eval import printable
from nla_eval.judgement import Evidence
from nla_eval.stats.bounds import Bounds
from nla_eval.stats.interval import Estimate
from nla_eval.tally.types import VariantMeasure

MISSING = "–"
_MINUS = "−"
_UNIT = "\u202f%"
"""A narrow no-break space and the percent sign."""


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage: "12.5 %"; two significant digits below 0.1 %."""
    return MISSING if value is None else _bare(value, digits) + _UNIT


def number(value: float | None, digits: int = 2) -> str:
    """A plain number with a true minus sign."""
    return MISSING if value is None else _signed(f"{value:.{digits}f}")


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands. Halves keep one decimal."""
    if value is None:
        return MISSING
    return f"{value:,.1f}".removesuffix(".0").replace(",", "\u202f")


def interval(estimate: Estimate) -> str:
    """The interval of a share in per cent: "3.1 to 9.0 %"; a bound is called one; empty if it is withheld."""
    if estimate.low is None or estimate.high is None:
        return ""
    if estimate.one_sided:
        above = estimate.high == 1
        return f"{'at least' if above else 'at most'} {percent(estimate.low if above else estimate.high)}, one-sided"
    return f"{_bare(estimate.low, 1)} to {percent(estimate.high)}"


def with_interval(estimate: Estimate) -> str:
    """A share with its interval: "4.2 % (1.2 to 20.2 %)"; alone where that is withheld."""
    inside = interval(estimate)
    return f"{percent(estimate.value)} ({inside})" if inside else percent(estimate.value)


def plain_interval(estimate: Estimate, digits: int = 2) -> str:
    """The interval of a quantity that is not a share; a bound is called one."""
    if estimate.low is None or estimate.high is None:
        return ""
    if estimate.one_sided:
        above = estimate.high == 1
        end = number(estimate.low if above else estimate.high, digits)
        return f"{'at least' if above else 'at most'} {end}, one-sided"
    return f"{number(estimate.low, digits)} to {number(estimate.high, digits)}"


def stacked(text: str) -> tuple[str, str]:
    """Text before and inside brackets at its end: "4.2 % (1.2 to 20.2 %)" as "4.2 %" and "1.2 to 20.2 %"."""
    before, opened, inside = text.removesuffix(")").partition(" (")
    return (before, inside) if opened and text.endswith(")") else (text, "")


def level(value: float | None, measure: VariantMeasure) -> str:
    """A mean of one outcome: a percentage, or a score with three decimals."""
    return number(value, 3) if measure is VariantMeasure.SCORE else percent(value)


def level_interval(estimate: Estimate, measure: VariantMeasure) -> str:
    """The interval of a mean of one outcome; empty if it is withheld."""
    return plain_interval(estimate, 3) if measure is VariantMeasure.SCORE else interval(estimate)


def difference(value: float | None, measure: VariantMeasure) -> str:
    """A signed difference in one outcome: percentage points, or a score with three decimals."""
    if value is None:
        return MISSING
    shown = number(value, 3) if measure is VariantMeasure.SCORE else _signed(f"{100 * value:.1f}")
    return f"+{shown}" if value > 0 else shown


def difference_interval(estimate: Estimate, measure: VariantMeasure) -> str:
    """The interval of a difference, both ends signed; empty if it is withheld."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{difference(estimate.low, measure)} to {difference(estimate.high, measure)}"


def with_difference(estimate: Estimate, measure: VariantMeasure) -> str:
    """A signed difference with its interval; alone where that is withheld."""
    inside = difference_interval(estimate, measure)
    value = difference(estimate.value, measure)
    return f"{value} ({inside})" if inside else value


def points(estimate: Estimate) -> str:
    """A difference of shares in percentage points; see `with_difference`."""
    return with_difference(estimate, VariantMeasure.FRACTION)


def bounds(found: Bounds) -> str:
    """Best and worst case in per cent; empty if nothing is undecided."""
    if not found.undecided or found.best is None or found.worst is None:
        return ""
    return f"{_bare(found.best, 1)} to {percent(found.worst)}"


def span(low: int, high: int) -> str:
    """A whole number, or the range of several: "12", "8 to 12"."""
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def p_value(p: float | None) -> str:
    """A p-value with three decimals, or "< 0.001"."""
    if p is None:
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def plural(n: int, noun: str) -> str:
    """A count with its noun: "1 transcript", "27 transcripts"."""
    return printable.plural(n, noun, count(n))


def words(items: Iterable[str], empty: str = "none") -> str:
    """A list in running text: "a, b and c"."""
    listed = list(items)
    if not listed:
        return empty
    return listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + " and " + listed[-1]


def counted(counts: Mapping[str, int]) -> str:
    """Counts by name: "plain 18, prod 18"."""
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"


def spoken(name: str) -> str:
    """A machine name as words: "on_policy_share" as "on policy share"."""
    return name.replace("_", " ")


def visible(text: str | None) -> str:
    """Text with control, bidirectional and lone surrogate characters written as code points.

    Line breaks and tabs stay. Otherwise a transcript could reverse or blank out the report around it, or stop the file
    from being written (lone surrogates have no UTF-8 form).
    """
    return printable.visible(text or "")


def marked(text: str, evidence: Iterable[Evidence]) -> list[tuple[str, bool]]:
    """Cut `text` into (piece, is evidence). If a span does not match its text, the text is searched for, or dropped."""
    flags = bytearray(len(text))
    for span in evidence:
        start = span.start if text[span.start : span.end] == span.text else text.find(span.text)
        if span.text and start >= 0:
            flags[start : start + len(span.text)] = b"\x01" * len(span.text)
    return _pieces(text, flags)


def token_in_context(context: str, token: str) -> list[tuple[str, bool]]:
    """Cut a context into (piece, is the read token); the token is its last piece."""
    if not token or not context.endswith(token):
        return [(context, False), *([(token, True)] if token else [])]
    return [(context[: -len(token)], False), (token, True)]


def as_mapping(provenance: Mapping[str, Any] | BaseModel) -> Mapping[str, Any]:
    """Provenance as plain data."""
    return provenance.model_dump(mode="json") if isinstance(provenance, BaseModel) else provenance


def flatten(value: Mapping[str, Any] | BaseModel) -> list[tuple[str, str]]:
    """Nested provenance as (dotted name, text) rows, in the order given."""
    return list(_rows("", as_mapping(value)))


def _bare(value: float, digits: int) -> str:
    shown = 100 * value
    small = 0 < abs(shown) < 10**-digits
    return _signed(f"{shown:.2g}" if small else f"{shown:.{digits}f}")


def _rows(prefix: str, value: object) -> Iterable[tuple[str, str]]:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _rows(f"{prefix}.{name}" if prefix else str(name), inner)
    elif isinstance(value, list | tuple) and not any(isinstance(x, Mapping) for x in value):
        yield prefix, ", ".join(str(x) for x in value)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _rows(f"{prefix}[{index}]", inner)
    else:
        yield prefix, MISSING if value is None else str(value)


def _pieces(text: str, flags: bytearray) -> list[tuple[str, bool]]:
    out: list[tuple[str, bool]] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or flags[end] != flags[start]:
            out.append((text[start:end], bool(flags[start])))
            start = end
    return out


def _signed(text: str) -> str:
    return text.replace("-", _MINUS)
