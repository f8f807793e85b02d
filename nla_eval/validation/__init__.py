"""Validation by people: a stratified sample of judgements, a blind page to label it on, and what the labels say of the
classifier."""

from .labels import Labels, read_labels
from .merge import Validation, validate
from .page import page_html
from .population import JudgedText, judged_texts
from .sample import Item, Sheet, draw_sheet, read_sheet

__all__ = [
    "Item",
    "JudgedText",
    "Labels",
    "Sheet",
    "Validation",
    "draw_sheet",
    "judged_texts",
    "page_html",
    "read_labels",
    "read_sheet",
    "validate",
]
