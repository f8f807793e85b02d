"""The linear classifier's features and model file: TF-IDF of words, characters, concepts and the lexicon's labels,
apart for turns and for explanations.

The file holds arrays of numbers and text (npz, read without pickle); what is not in it is in the code below."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from nla_eval.errors import InputError
from nla_eval.judgement import Headline, Label
from nla_eval.judging.sentences import windows

from ._concepts import concept_terms
from .lexicon import find_hits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 3
KINDS = ("turn", "explanation")
WINDOW = {"explanation": 250, "turn": 160}
"""Characters judged at once, about the length of the training texts: in longer windows one telling sentence drowns
(observed: of four such sentences within a 7,000-character turn, 0 flagged at 700, 2 at 250, 3 at 160)."""

BLOCKS = ("word", "char", "concept", "lexicon")
WEIGHT = {"word": 1.0, "char": 1.0, "concept": 1.0, "lexicon": 0.5}
"""By block of features, before the regression: a larger weight is a weaker penalty. Chosen by cross-validation."""

MODEL_PATH = Path(__file__).parent / "data" / "linear.npz"


@dataclass(frozen=True)
class LinearModel:
    """A model fitted to texts of one kind, with the thresholds that belong to it."""

    vectorizers: Mapping[str, Any]
    """A fitted TfidfVectorizer for each of `BLOCKS`."""
    regression: Any
    """Multinomial LogisticRegression; its classes are label names."""
    thresholds: dict[str, float]
    """Per headline ("paper", "broad"): the probability from which a text counts as aware."""
    headlines: dict[str, list[str]]
    """The label sets the thresholds were set for."""

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(n, len(classes)) class probabilities, rows sum to 1."""
        probabilities: NDArray[np.float64] = self.regression.predict_proba(features(self.vectorizers, texts))
        return probabilities

    @property
    def labels(self) -> list[Label]:
        """The labels of the columns of `probabilities`."""
        return [Label(name) for name in self.regression.classes_]


def features(vectorizers: Mapping[str, Any], texts: Sequence[str]) -> Any:
    """(n, terms of all blocks) sparse matrix of the texts' features under fitted vectorizers.

    In float64: on float32 features the solver's line search fails before its gradient is small.
    """
    import numpy as np
    from scipy.sparse import hstack

    blocks = [vectorizers[block].transform(texts).astype(np.float64) * WEIGHT[block] for block in BLOCKS]
    return hstack(blocks).tocsr()


def text_windows(text: str, kind: str) -> list[tuple[int, int]]:
    """The spans of `text` that are judged separately; `kind` is "explanation" or "turn"."""
    return windows(text, WINDOW[kind])


def vectorizer(block: str) -> Any:
    """Unfitted TF-IDF of words and pairs, 3 to 5 characters within words, concepts, or the lexicon's labels."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    analyzed: dict[str, dict[str, Any]] = {
        "word": {"ngram_range": (1, 2)},
        "char": {"analyzer": "char_wb", "ngram_range": (3, 5)},
        "concept": {"analyzer": concept_terms},
        "lexicon": {"analyzer": lexicon_terms},
    }
    return TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **analyzed[block])


def lexicon_terms(text: str) -> list[str]:
    """The labels that the lexicon finds in a text."""
    return sorted({hit.label.value for hit in find_hits(text)})


def save_models(models: Mapping[str, LinearModel], path: Path) -> None:
    """Write the models of all kinds to one file."""
    import numpy as np

    settings = {
        "format": FORMAT,
        "kinds": {kind: {"thresholds": m.thresholds, "headlines": m.headlines} for kind, m in models.items()},
    }
    arrays: dict[str, Any] = {"settings": np.array(json.dumps(settings))}
    for kind, model in models.items():
        arrays[f"{kind}_classes"] = np.array(list(model.regression.classes_))
        arrays[f"{kind}_coef"] = model.regression.coef_
        arrays[f"{kind}_intercept"] = model.regression.intercept_
        for block in BLOCKS:
            arrays[f"{kind}_{block}_terms"] = model.vectorizers[block].get_feature_names_out().astype(str)
            arrays[f"{kind}_{block}_idf"] = model.vectorizers[block].idf_
    np.savez_compressed(path, **arrays)


def load_models(path: Path = MODEL_PATH) -> dict[str, LinearModel]:
    """Read a model file: a model for each of `KINDS`.

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
        return {kind: _model(arrays, kind, settings["kinds"][kind]) for kind in KINDS}
    except (ValueError, KeyError, TypeError, OSError, BadZipFile) as err:
        raise InputError(f"linear classifier: '{path.name}' is not a model file ({err}); {remake}") from None


def model_hash(path: Path = MODEL_PATH) -> str:
    """Hex sha256 of the model's arrays, first 16 digits: the same however the file was compressed."""
    import numpy as np

    digest = hashlib.sha256()
    with np.load(path, allow_pickle=False) as file:
        for name in sorted(file.files):
            digest.update(name.encode() + b"\0" + file[name].tobytes())
    return digest.hexdigest()[:16]


def _model(arrays: Mapping[str, Any], kind: str, settings: Mapping[str, Any]) -> LinearModel:
    vectorizers = {
        block: _fitted(vectorizer(block), arrays[f"{kind}_{block}_terms"], arrays[f"{kind}_{block}_idf"])
        for block in BLOCKS
    }
    regression = _regression(*(arrays[f"{kind}_{part}"] for part in ("classes", "coef", "intercept")))
    return LinearModel(vectorizers, regression, settings["thresholds"], settings["headlines"])


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
