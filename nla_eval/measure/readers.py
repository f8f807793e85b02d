"""Classifiers that ask whether something can be read from explanations, from the context's text, or from the activation
itself. Every score is out of fold, with whole groups held out; nothing is tuned on what it reports.

Texts: TF-IDF of words and word pairs into logistic regression. Activations: standardised, into logistic regression
(C = 0.01, as more features than rows need), the linear probe that is the ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from .figures import Floats, Ints

FOLDS = 5
_TOKENS = r"\w+|[^\w\s]"
_FIXED = "text "
"""Stands before every text, so that a fold of empty texts still has a vocabulary."""


def text_classifier() -> Any:
    """TF-IDF into balanced logistic regression."""
    vectorizer = TfidfVectorizer(token_pattern=_TOKENS, ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(vectorizer, LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced"))


def probe() -> Any:
    """The linear probe."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced"))


def scores_of_texts(texts: Sequence[str], positive: NDArray[np.bool_], groups: Ints) -> Floats:
    """(n,) out-of-fold scores for a yes-or-no label, leaving one group out at a time."""
    return _scores(text_classifier(), [_FIXED + t for t in texts], positive, groups)


def scores_of_vectors(vectors: NDArray[np.float32], positive: NDArray[np.bool_], groups: Ints) -> Floats:
    """The same from (n, d_model) activations."""
    return _scores(probe(), vectors.astype(np.float64), positive, groups)


def hits_of_texts(texts: Sequence[str], labels: Sequence[str], groups: Ints) -> NDArray[np.bool_]:
    """(n,) whether a classifier of texts names the class of each row, whole groups held out in stratified folds."""
    return _hits(text_classifier(), [_FIXED + t for t in texts], labels, groups)


def hits_of_vectors(vectors: NDArray[np.float32], labels: Sequence[str], groups: Ints) -> NDArray[np.bool_]:
    """The same from (n, d_model) activations."""
    return _hits(probe(), vectors.astype(np.float64), labels, groups)


def predicted_directions(vectors: NDArray[np.float32], texts: Sequence[str], folds: Ints, width: int = 64) -> Floats:
    """(n, n) cosine of what a ridge regression predicts from each activation with each text.

    Texts are TF-IDF vectors in `width` latent dimensions (truncated SVD), fitted on all of them without labels. A
    prediction is a weighted sum of the texts it was fitted on, so only entries within one fold may be compared: texts
    of other folds look alike to it whatever the activation holds.

    Args:
        vectors: (n, d_model) activations.
        texts: (n,) what followed each.
        folds: (n,) fold of each row, at least two different ones; whole conversations.
    """
    tfidf = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit_transform(texts)
    latent = TruncatedSVD(min(width, min(tfidf.shape) - 1), random_state=0).fit_transform(tfidf)
    wanted = normalize(latent)
    predicted = np.zeros_like(wanted)
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        model = make_pipeline(StandardScaler(), Ridge(alpha=vectors.shape[1]))
        predicted[test] = model.fit(vectors[train], wanted[train]).predict(vectors[test])
    return np.asarray(normalize(predicted) @ wanted.T)


def _scores(model: Any, rows: Any, positive: NDArray[np.bool_], groups: Ints) -> Floats:
    out = np.zeros(len(positive))
    for train, test in LeaveOneGroupOut().split(rows, positive, groups):
        out[test] = model.fit(_take(rows, train), positive[train]).decision_function(_take(rows, test))
    return out


def _hits(model: Any, rows: Any, labels: Sequence[str], groups: Ints) -> NDArray[np.bool_]:
    names = np.array(labels)
    hits = np.zeros(len(names), bool)
    for train, test in _stratified(names, groups):
        seen = np.unique(names[train])
        if len(seen) > 1:
            hits[test] = model.fit(_take(rows, train), names[train]).predict(_take(rows, test)) == names[test]
        else:
            hits[test] = names[test] == seen[0]
    return hits


def _stratified(labels: NDArray[np.str_], groups: Ints) -> Iterator[tuple[Ints, Ints]]:
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    count = max(2, min(FOLDS, len(np.unique(groups)), smallest))
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    yield from folds.split(np.zeros(len(labels)), labels, groups)


def _take(rows: Any, index: Ints) -> Any:
    return rows[index] if isinstance(rows, np.ndarray) else [rows[i] for i in index.tolist()]
