"""What a setting adapter is worth: figures, the rule for "expresses told", and their text. Computes no figure.

`training.setting.measure` fills it in; it is an entry of a pack's card.json."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, computed_field

from .figures import Figure
from .markdown import markdown_table

READER = "setting"
DEMANDED = ("none", "hard_negatives", "innocent", "shuffled", "other_layer", "never_taught")
"""What told transcripts have to stand above, on held-out wordings (docs/method.md 4.17, 4.19)."""
NAMES = {
    "none": "the same conversations, nothing said",
    "real": "told that it is in real use",
    "innocent": "innocent words of testing",
    "fact": "other facts, new wordings",
    "never_taught": "facts never taught",
    "others": "all other notices and none",
    "hard_negatives": "suite hard_negatives",
    "shuffled": "coordinates shuffled within covariance",
    "other_layer": "untold rows of another block",
}


class Contrast(BaseModel):
    """How well one reader tells told from something else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    against: str
    reader: str
    """`setting`; or a probe or a reader of the text, trained on the same lessons."""
    where: str
    """`transcript`: the mean over its positions; `row`, `boundary`, `early` or `later`: a position."""
    auroc: Figure


class Rate(BaseModel):
    """Share of transcripts that are read aware."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    aware: Figure


class PlantedRow(BaseModel):
    """The positive control: the same texts with and without the cue, read from one target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    rows: Figure
    """AUROC of cue against no cue, by position."""
    transcripts: Figure
    aware_cue: Figure
    aware_without: Figure
    higher: Figure | None = None
    """Share of requests whose mean log-odds are higher with the cue than without it."""
    shift: Figure | None = None
    """Mean over requests of log-odds with the cue minus without it."""


class SettingCard(BaseModel):
    """The entry `setting` of a pack's card."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    reader: str
    """Id of the adapter."""
    threshold: float
    fitted_on: str
    held_out: str
    """What the figures are of, in words."""
    trained: dict[str, float]
    """Conversations, rows, steps, core-minutes."""
    contrasts: tuple[Contrast, ...]
    rates: tuple[Rate, ...]
    planted: tuple[PlantedRow, ...] = ()
    blank: dict[str, float]
    """Log-odds of the mean vector and without injection."""

    def of(self, against: str, where: str = "transcript", reader: str = READER) -> Figure | None:
        """One figure; None if it was not measured."""
        wanted = (against, where, reader)
        return next((c.auroc for c in self.contrasts if (c.against, c.where, c.reader) == wanted), None)

    @property
    def missing(self) -> list[str]:
        """What told is not shown to stand above: its interval reaches .5, has no lower end, or was not measured."""
        found = {name: self.of(name) for name in DEMANDED}
        return [name for name, figure in found.items() if figure is None or figure.low is None or figure.low <= 0.5]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def expresses_told(self) -> bool:
        """Whether told transcripts stand above everything that is demanded."""
        return not self.missing


def setting_text(card: SettingCard) -> Iterator[str]:
    """The card as Markdown."""
    yield from ("", f"## Told, read by the setting adapter `{card.reader}`", "")
    if card.expresses_told:
        yield "It expresses told: told stands above each demanded contrast on held-out wordings."
    else:
        lacking = ", ".join(NAMES[name] for name in card.missing)
        yield f"It does not express told: its interval is not above .5 against {lacking}."
    yield f"{card.held_out} Threshold {card.threshold:.3f}, fixed on {card.fitted_on}. No part of N or of belief."
    yield ""
    readers = list(dict.fromkeys(c.reader for c in card.contrasts if c.where == "transcript"))
    yield from markdown_table(
        ("told against, transcript mean, AUROC", *readers),
        [
            (NAMES[name], *(_shown(card.of(name, "transcript", reader)) for reader in readers))
            for name in dict.fromkeys(c.against for c in card.contrasts if c.where == "transcript")
        ],
    )
    yield ""
    places = [w for w in dict.fromkeys(c.where for c in card.contrasts) if w != "transcript"]
    yield from markdown_table(
        ("told against all others, by position", READER, "probe"),
        [(w, _shown(card.of("others", w)), _shown(card.of("others", w, "probe"))) for w in places],
    )
    yield ""
    yield from markdown_table(("read aware (setting)", "transcripts"), [(r.of, _shown(r.aware)) for r in card.rates])
    if card.planted:
        yield ""
        yield from markdown_table(
            (
                "planted state, same texts",
                "higher with the cue",
                "by, log-odds",
                "AUROC, position",
                "AUROC, transcript",
                "aware with cue",
                "aware without",
            ),
            [
                (p.target, *map(_shown, (p.higher, p.shift, p.rows, p.transcripts, p.aware_cue, p.aware_without)))
                for p in card.planted
            ],
        )
    yield ""
    blanks = ", ".join(f"{name} {value:.2f}" for name, value in card.blank.items())
    yield (
        f"Log-odds of blank readings: {blanks}. Trained on "
        + ", ".join(f"{value:g} {name}" for name, value in card.trained.items())
        + "."
    )


def _shown(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
