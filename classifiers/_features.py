"""The linear classifier's features and model file: TF-IDF of words and characters, plus which lexicon labels matched.

The file is skops (no pickle), and it loads only if skops trusts every type in it by default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nla_eval.errors import InputError
from nla_eval.judgement import Headline, Label
from nla_eval.sentences import windows

from .lexicon import find_hits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1
WINDOW = {"explanation": 250, "turn": 160}
"""Characters judged at once, about the length of the training texts: in longer windows one telling sentence drowns
(observed: of four such sentences within a 7,000-character turn, 0 flagged at 700, 2 at 250, 3 at 160)."""

MODEL_PATH = Path(__file__).parent / "data" / "linear.skops"

_LABELS = list(Label)


@dataclass(frozen=True)
class LinearModel:
    """A fitted model with the thresholds that belong to it."""

    word: Any
    """TfidfVectorizer over word 1- and 2-grams."""
    char: Any
    """TfidfVectorizer over character 3- to 5-grams within words."""
    regression: Any
    """Multinomial LogisticRegression; its classes are label names."""
    thresholds: dict[str, float]
    """Per headline ("paper", "broad"): the probability from which a text counts as aware."""
    headlines: dict[str, list[str]]
    """The label sets the thresholds were set for."""

    def probabilities(self, texts: list[str]) -> NDArray[np.float64]:
        """(n, len(classes)) class probabilities, rows sum to 1."""
        from scipy.sparse import hstack

        blocks = [self.word.transform(texts), self.char.transform(texts), lexicon_features(texts)]
        probabilities: NDArray[np.float64] = self.regression.predict_proba(hstack(blocks).tocsr())
        return probabilities

    @property
    def labels(self) -> list[Label]:
        """The labels of the columns of `probabilities`."""
        return [Label(name) for name in self.regression.classes_]


def lexicon_features(texts: list[str]) -> Any:
    """(n, len(Label)) sparse 0/1: whether the lexicon finds each label in a text."""
    import numpy as np
    from scipy.sparse import csr_matrix

    table = np.zeros((len(texts), len(_LABELS)))
    for row, text in enumerate(texts):
        for hit in find_hits(text):
            table[row, _LABELS.index(hit.label)] = 1.0
    return csr_matrix(table)


def text_windows(text: str, kind: str) -> list[tuple[int, int]]:
    """The spans of `text` that are judged separately; `kind` is "explanation" or "turn"."""
    return windows(text, WINDOW[kind])


def save_model(model: LinearModel, path: Path) -> None:
    """Write a model file."""
    import zipfile

    from skops.io import dump

    record = {
        "format": FORMAT,
        "word": model.word,
        "char": model.char,
        "regression": model.regression,
        "thresholds": model.thresholds,
        "headlines": model.headlines,
    }
    dump(record, path, compression=zipfile.ZIP_DEFLATED, compresslevel=9)


def load_model(path: Path = MODEL_PATH) -> LinearModel:
    """Read a model file.

    Raises:
        InputError: The file is missing, holds a type that is not trusted, or has another format.
    """
    from skops.io import get_untrusted_types, load

    remake = "remake it with: python -m nla_eval.classifiers.train_linear"
    if not path.is_file():
        raise InputError(f"linear classifier: no model file '{path.name}'; {remake}")
    untrusted = get_untrusted_types(file=path)
    if untrusted:
        raise InputError(f"linear classifier: '{path.name}' holds {untrusted[0]}, which is not trusted; {remake}")
    record = load(path, trusted=[])
    if record.get("format") != FORMAT:
        raise InputError(f"linear classifier: '{path.name}' has format {record.get('format')}, not {FORMAT}; {remake}")
    fields = {name: record[name] for name in ("word", "char", "regression", "thresholds", "headlines")}
    return LinearModel(**fields)


def headline_labels(model: LinearModel, headline: Headline) -> list[Label]:
    """The labels that enter `headline`."""
    return [Label(name) for name in model.headlines[headline.value]]
