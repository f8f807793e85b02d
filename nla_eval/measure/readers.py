"""Classifiers that test whether a label can be predicted from explanations, from the context's text, or from the
activation. Every score is out of fold, with whole groups held out. Nothing is tuned on the reported scores.

Texts: logistic regression on TF-IDF of words and word pairs. Activations: logistic regression on standardised values
(C = 0.01, because there are more features than rows). This linear probe is the ceiling."""

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
"""Prefix of every text, so that a fold of empty texts still has a vocabulary."""


def text_classifier() -> Any:
    """Balanced logistic regression on TF-IDF."""
    vectorizer = TfidfVectorizer(token_pattern=_TOKENS, ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(vectorizer, LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced"))


def probe() -> Any:
    """The linear probe on activations."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced"))


def scores_of_texts(texts: Sequence[str], positive: NDArray[np.bool_], groups: Ints) -> Floats:
    """(n,) out-of-fold scores for a binary label, leaving one group out at a time."""
    return _scores(text_classifier(), [_FIXED + t for t in texts], positive, groups)


def scores_of_characters(texts: Sequence[str], positive: NDArray[np.bool_], groups: Ints) -> Floats:
    """`scores_of_texts` from two to five characters, which also shows layout and spelling. Their frequencies are
    counted over all texts, without labels: counting them again in every fold takes minutes."""
    counts = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True).fit_transform(
        [_FIXED + t for t in texts]
    )
    return _scores(LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced"), counts, positive, groups)


def scores_of_vectors(vectors: NDArray[np.float32], positive: NDArray[np.bool_], groups: Ints) -> Floats:
    """`scores_of_texts` for (n, d_model) activations."""
    return _scores(probe(), vectors.astype(np.float64), positive, groups)


def hits_of_texts(texts: Sequence[str], labels: Sequence[str], groups: Ints) -> NDArray[np.bool_]:
    """(n,) whether a text classifier predicts the class of each row. Stratified folds hold out whole groups."""
    return _hits(text_classifier(), [_FIXED + t for t in texts], labels, groups)


def hits_of_vectors(vectors: NDArray[np.float32], labels: Sequence[str], groups: Ints) -> NDArray[np.bool_]:
    """The same from (n, d_model) activations."""
    return _hits(probe(), vectors.astype(np.float64), labels, groups)


def predicted_directions(vectors: NDArray[np.float32], texts: Sequence[str], folds: Ints, width: int = 64) -> Floats:
    """(n, n) cosine similarity between the ridge prediction from each activation and each text.

    Texts are TF-IDF vectors in `width` latent dimensions (truncated SVD), fitted on all texts without labels. Compare
    only entries within one fold: a prediction is a weighted sum of the texts it was fitted on, so it is similar to
    texts of other folds whatever the activation is.

    Args:
        vectors: (n, d_model) activations.
        texts: (n,) the continuation of each row.
        folds: (n,) fold of each row, at least two folds, each made of whole conversations.
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
    return [rows[i] for i in index.tolist()] if isinstance(rows, list) else rows[index]
