"""The linear classifier's features and model file: TF-IDF of words and characters, plus which lexicon labels matched.

The file holds arrays of numbers and text (npz, read without pickle); what is not in it is in the code below."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from nla_eval.errors import InputError
from nla_eval.judgement import Headline, Label
from nla_eval.judging.sentences import windows

from .lexicon import find_hits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 2
WINDOW = {"explanation": 250, "turn": 160}
"""Characters judged at once, about the length of the training texts: in longer windows one telling sentence drowns
(observed: of four such sentences within a 7,000-character turn, 0 flagged at 700, 2 at 250, 3 at 160)."""

MODEL_PATH = Path(__file__).parent / "data" / "linear.npz"

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


def word_vectorizer() -> Any:
    """Unfitted TF-IDF of word 1- and 2-grams."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)


def char_vectorizer() -> Any:
    """Unfitted TF-IDF of character 3- to 5-grams within words."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32)


def save_model(model: LinearModel, path: Path) -> None:
    """Write a model file."""
    import numpy as np

    settings = {"format": FORMAT, "thresholds": model.thresholds, "headlines": model.headlines}
    arrays = {
        "settings": np.array(json.dumps(settings)),
        "classes": np.array(list(model.regression.classes_)),
        "coef": model.regression.coef_,
        "intercept": model.regression.intercept_,
    }
    for name, vectorizer in (("word", model.word), ("char", model.char)):
        arrays[f"{name}_terms"] = vectorizer.get_feature_names_out().astype(str)
        arrays[f"{name}_idf"] = vectorizer.idf_
    np.savez_compressed(path, **arrays)


def load_model(path: Path = MODEL_PATH) -> LinearModel:
    """Read a model file.

    Raises:
        InputError: The file is missing, is not a model file, or has another format.
    """
    import numpy as np

    remake = "remake it with: python -m nla_eval.classifiers.train_linear"
    if not path.is_file():
        raise InputError(f"linear classifier: no model file '{path.name}'; {remake}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        settings = json.loads(str(arrays["settings"]))
        if settings["format"] != FORMAT:
            raise InputError(
                f"linear classifier: '{path.name}' has format {settings['format']}, not {FORMAT}; {remake}"
            )
        word = _fitted(word_vectorizer(), arrays["word_terms"], arrays["word_idf"])
        char = _fitted(char_vectorizer(), arrays["char_terms"], arrays["char_idf"])
        regression = _regression(arrays["classes"], arrays["coef"], arrays["intercept"])
        return LinearModel(word, char, regression, settings["thresholds"], settings["headlines"])
    except (ValueError, KeyError, TypeError, OSError, BadZipFile) as err:
        raise InputError(f"linear classifier: '{path.name}' is not a model file ({err}); {remake}") from None


def _fitted(vectorizer: Any, terms: NDArray[np.str_], idf: NDArray[np.float32]) -> Any:
    """`vectorizer` as it was after fitting: terms in column order, with their weights."""
    vectorizer.set_params(vocabulary={term: column for column, term in enumerate(terms.tolist())})
    vectorizer.idf_ = idf
    return vectorizer


def _regression(classes: NDArray[np.str_], coef: NDArray[np.float32], intercept: NDArray[np.float32]) -> Any:
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression()
    regression.classes_, regression.coef_, regression.intercept_ = classes, coef, intercept
    regression.n_features_in_ = coef.shape[1]
    return regression


def headline_labels(model: LinearModel, headline: Headline) -> list[Label]:
    """The labels that enter `headline`."""
    return [Label(name) for name in model.headlines[headline.value]]
