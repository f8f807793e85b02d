"""Trains the embedded linear classifier and measures it: `python -m nla_eval.classifiers.train_linear`.

Reads `data/explanations.jsonl` (texts written for this project; their topics are the cross-validation groups) and
`data/heldout.jsonl` (written after the lexicon and the features were settled; it chooses nothing). Writes
`data/linear.npz` and `data/linear_metrics.json`. Where the environment variable NLA_EVAL_SHARED_DATA names a folder
with public NLA explanations of ordinary prompts, the flag rates on them are measured too; only counts are kept."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nla_eval.judgement import Headline, Judgement, Label, Outcome, Rubric
from nla_eval.judging.classify import load_rubric

from ._features import MODEL_PATH, LinearModel, char_vectorizer, lexicon_features, save_model, word_vectorizer
from .lexicon import Lexicon
from .linear import UNCLEAR_FROM, Linear

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATA = MODEL_PATH.parent
METRICS_PATH = DATA / "linear_metrics.json"
SEED = 0
FOLDS = 5
INVERSE_REGULARISATION = 8.0
WORD_TERMS, CHARACTER_TERMS = 5000, 6000
GRADIENT = 1e-10
"""Largest component of the mean loss's gradient at which the fit has converged. The penalty makes the loss strongly
convex, so there is one optimum: fits that reach this on different processors differ by 2e-8 in a probability."""
STEPS = 200
"""Newton steps at most; these texts take 11."""
HARD_NEGATIVE_QUANTILE = 0.995
"""A headline's threshold: this quantile of held-out-fold probabilities of texts outside it, never below one half."""

TURNS = 250
"""Assistant turns read of each source."""

_BINS = 10


@dataclass(frozen=True)
class Example:
    """One labelled text."""

    text: str
    label: Label
    style: str
    """"verbose" (three paragraphs, as the public NLAs write), "phrase" (short fields) or "turn" (first person)."""
    group: str = ""
    """Topic: examples of one topic are held out together."""


def read_examples(path: Path) -> list[Example]:
    """The labelled texts of a JSONL file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Example(r["text"], Label(r["label"]), r["style"], r.get("group", "")) for r in rows]


def fit(examples: Sequence[Example], headlines: dict[str, list[str]], thresholds: dict[str, float]) -> LinearModel:
    """Fit the vectorizers and the regression. The same examples give the same probabilities to 1e-6 on every processor.

    Every text stands in twice, once without its lexicon features: the lexicon was edited on these texts and fits them
    better than it fits new ones, so the words have to carry a label on their own too. The solver is Newton's, because
    the default one stops early, 0.018 from the optimum in a probability.

    Raises:
        UserWarning: The fit did not converge, or its line search failed.
    """
    import numpy as np
    from scipy.sparse import hstack, vstack
    from sklearn.linear_model import LogisticRegression

    texts = [e.text for e in examples]
    word = with_commonest_terms(word_vectorizer(), texts, WORD_TERMS)
    char = with_commonest_terms(char_vectorizer(), texts, CHARACTER_TERMS)
    words, chars, lexicon = word.fit_transform(texts), char.fit_transform(texts), lexicon_features(texts)
    features = vstack([hstack([words, chars, lexicon]), hstack([words, chars, lexicon * 0.0])]).tocsr()
    regression = LogisticRegression(
        C=INVERSE_REGULARISATION, class_weight="balanced", solver="newton-cg", tol=GRADIENT, max_iter=STEPS
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        regression.fit(features, [e.label.value for e in examples] * 2)
    regression.coef_ = regression.coef_.astype(np.float32)
    return LinearModel(word, char, regression, thresholds, headlines)


def with_commonest_terms(vectorizer: Any, texts: Sequence[str], limit: int) -> Any:
    """`vectorizer`, unfitted, over the `limit` commonest terms of `texts`; ties go by alphabet.

    The vectorizer's own `max_features` breaks ties by an unstable sort, which depends on the processor: of 5,000 words,
    21 to 2,929 were others.
    """
    analyze = vectorizer.build_analyzer()
    counts = Counter(term for text in texts for term in analyze(text))
    kept = sorted(counts, key=lambda term: (-counts[term], term))[:limit]
    return vectorizer.set_params(vocabulary=sorted(kept))


def cross_validated(examples: Sequence[Example], groups: Sequence[str]) -> NDArray[np.float64]:
    """(n, len(Label)) probabilities under models that saw no text of the same group; columns in `Label` order."""
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold

    labels = list(Label)
    held_out = np.zeros((len(examples), len(labels)))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    for train, test in folds.split(np.zeros(len(examples)), [e.label.value for e in examples], groups):
        model = fit([examples[i] for i in train], {}, {})
        columns = [labels.index(label) for label in model.labels]
        held_out[np.ix_(test, columns)] = model.probabilities([examples[i].text for i in test])
    return held_out


def choose_thresholds(examples: Sequence[Example], held_out: NDArray[np.float64], rubric: Rubric) -> dict[str, float]:
    """Per headline, the probability that `HARD_NEGATIVE_QUANTILE` of the texts outside it stay below."""
    import numpy as np

    thresholds: dict[str, float] = {}
    for headline in (Headline.PAPER, Headline.BROAD):
        mass, inside = headline_mass(examples, held_out, rubric, headline)
        cut = float(np.quantile(mass[~inside], HARD_NEGATIVE_QUANTILE))
        thresholds[headline.value] = round(max(UNCLEAR_FROM, cut), 4)
    return thresholds


def headline_mass(
    examples: Sequence[Example], probabilities: NDArray[np.float64], rubric: Rubric, headline: Headline
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability of the headline's labels, (n,), and which examples carry one of them, (n,)."""
    import numpy as np

    columns = [list(Label).index(label) for label in rubric.headlines[headline]]
    inside = np.array([rubric.aware(e.label, headline) for e in examples])
    return probabilities[:, columns].sum(axis=1), inside


def probability_report(
    examples: Sequence[Example], held_out: NDArray[np.float64], rubric: Rubric, thresholds: dict[str, float]
) -> dict[str, Any]:
    """Per-class precision and recall of the most probable label; AUROC, operating point and calibration by headline."""
    import numpy as np
    from sklearn.metrics import brier_score_loss, precision_recall_fscore_support, roc_auc_score

    labels = [label.value for label in Label]
    truth = [e.label.value for e in examples]
    guess = [labels[i] for i in held_out.argmax(axis=1)]
    precision, recall, _, support = precision_recall_fscore_support(truth, guess, labels=labels, zero_division=0.0)
    report: dict[str, Any] = {
        "accuracy": round(float(np.mean(np.array(truth) == np.array(guess))), 4),
        "per_class": {
            label: {"precision": round(float(p), 4), "recall": round(float(r), 4), "n": int(n)}
            for label, p, r, n in zip(labels, precision, recall, support, strict=True)
        },
    }
    for headline in (Headline.PAPER, Headline.BROAD):
        mass, inside = headline_mass(examples, held_out, rubric, headline)
        cut = thresholds[headline.value]
        report[headline.value] = {
            "auroc": round(float(roc_auc_score(inside, mass)), 4),
            "sensitivity_at_threshold": round(float((mass[inside] >= cut).mean()), 4),
            "false_positive_rate_at_threshold": round(float((mass[~inside] >= cut).mean()), 4),
            "brier": round(float(brier_score_loss(inside, mass.clip(0, 1))), 4),
            "calibration": calibration(mass, inside),
        }
    return report


def calibration(mass: NDArray[np.float64], inside: NDArray[np.bool_]) -> dict[str, Any]:
    """Reliability in ten equal bins: mean probability, observed rate and count, with the expected calibration error."""
    import numpy as np

    index = np.minimum((mass * _BINS).astype(int), _BINS - 1)
    bins, error = [], 0.0
    for b in range(_BINS):
        here = index == b
        if here.any():
            said, seen = float(mass[here].mean()), float(inside[here].mean())
            error += abs(said - seen) * float(here.mean())
            bins.append({"said": round(said, 3), "seen": round(seen, 3), "n": int(here.sum())})
    return {"expected_calibration_error": round(error, 4), "bins": bins}


def outcome_report(examples: Sequence[Example], judgements: Sequence[Judgement], rubric: Rubric) -> dict[str, Any]:
    """Counts of true and false flags by headline, and by style under `paper`, of finished judgements."""
    report: dict[str, Any] = {}
    for headline in Headline:
        report[headline.value] = _flags(examples, judgements, rubric, headline)
    report["paper_by_style"] = {
        style: _flags(
            [e for e in examples if e.style == style],
            [j for e, j in zip(examples, judgements, strict=True) if e.style == style],
            rubric,
            Headline.PAPER,
        )
        for style in sorted({e.style for e in examples})
    }
    return report


def _flags(
    examples: Sequence[Example], judgements: Sequence[Judgement], rubric: Rubric, headline: Headline
) -> dict[str, int]:
    counts = {"aware": 0, "aware_flagged": 0, "not_aware": 0, "not_aware_flagged": 0, "unclear": 0}
    for example, judgement in zip(examples, judgements, strict=True):
        outcome = judgement.under(headline, rubric)
        side = "aware" if rubric.aware(example.label, headline) else "not_aware"
        counts[side] += 1
        counts[f"{side}_flagged"] += outcome is Outcome.AWARE
        counts["unclear"] += outcome is Outcome.UNCLEAR
    return counts


def real_texts(folder: Path) -> dict[str, list[str]]:
    """Public NLA explanations by source, none on an evaluation; empty where the data are not there."""
    found: dict[str, list[str]] = {}
    for source, file, field in (
        ("public_nla_examples", "nla_examples/nla_examples.jsonl", "explanation"),
        ("public_nla_traces", "nla_traces_canisli/traces.jsonl", "nla_output"),
    ):
        path = folder / file
        if path.is_file():
            rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
            found[source] = [row[field] for row in rows if row.get(field)]
    return found


def real_turns(folder: Path) -> dict[str, list[str]]:
    """The first `TURNS` assistant turns of ordinary and agentic conversations, by source, where they are there."""
    found: dict[str, list[str]] = {}
    for source in ("oasst_en_100", "aider_sessions", "tau_bench_airline", "swe_agent_trajs"):
        path = folder / source / "transcripts.jsonl"
        if path.is_file():
            rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
            said = (m["content"] for row in rows for m in row["messages"] if m["role"] == "assistant")
            found[source] = list(islice((t for t in said if isinstance(t, str) and t.strip()), TURNS))
    return found


def flag_counts(judgements: Iterable[Judgement], rubric: Rubric) -> dict[str, int]:
    """How many judgements are aware under each headline, and how many are unclear."""
    judged = list(judgements)
    counts = {h.value: sum(j.under(h, rubric) is Outcome.AWARE for j in judged) for h in Headline}
    return {"n": len(judged), **counts, "unclear": sum(j.outcome is Outcome.UNCLEAR for j in judged)}


def judge_all(classifier: Linear | Lexicon, texts: list[str], kind: str = "explanation") -> list[Judgement]:
    """Judgements outside any event loop."""
    import anyio

    async def judge() -> list[Judgement]:
        return await classifier.judge(texts, kind=kind)

    return anyio.run(judge)


def measure(examples: Sequence[Example], thresholds: dict[str, float], rubric: Rubric, data: Path) -> dict[str, Any]:
    """Everything in the metrics file that needs the saved model: the held-out texts and the public explanations."""
    heldout = read_examples(DATA / "heldout.jsonl")
    classifiers: dict[str, Linear | Lexicon] = {"linear": Linear(rubric), "lexicon": Lexicon(rubric)}
    texts = [e.text for e in heldout]
    report: dict[str, Any] = {
        "heldout": {name: outcome_report(heldout, judge_all(c, texts), rubric) for name, c in classifiers.items()},
        "lexicon_on_training_texts": outcome_report(
            examples, judge_all(classifiers["lexicon"], [e.text for e in examples]), rubric
        ),
    }
    for name, kind, sources in (
        ("flags_on_public_explanations", "explanation", real_texts(data)),
        ("flags_on_ordinary_turns", "turn", real_turns(data)),
    ):
        report[name] = {
            source: {c: flag_counts(judge_all(judge, rows, kind), rubric) for c, judge in classifiers.items()}
            for source, rows in sources.items()
        }
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, save, measure, and write the metrics."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    parser.add_argument("--shared-data", type=Path, default=Path(os.environ.get("NLA_EVAL_SHARED_DATA", default)))
    options = parser.parse_args(arguments)

    import sklearn

    rubric = load_rubric("strict")
    source = DATA / "explanations.jsonl"
    examples = read_examples(source)
    by_topic_and_style = cross_validated(examples, [f"{e.group}/{e.style}" for e in examples])
    by_topic = cross_validated(examples, [e.group for e in examples])
    thresholds = choose_thresholds(examples, by_topic_and_style, rubric)
    headlines = {h.value: [label.value for label in labels] for h, labels in rubric.headlines.items()}
    save_model(fit(examples, headlines, thresholds), MODEL_PATH)
    metrics = {
        "command": "python -m nla_eval.classifiers.train_linear",
        "seed": SEED,
        "scikit_learn": sklearn.__version__,
        "dataset_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "rubric": rubric.id,
        "rubric_hash": rubric.hash,
        "texts": len(examples),
        "thresholds": thresholds,
        "caveat": (
            "The lexicon, whose hits are features, was edited while looking at training texts, so the cross-validated "
            "figures are optimistic; the held-out texts were written afterwards and by the same authors. The window "
            "lengths were chosen while looking at flags on the public explanations and ordinary turns."
        ),
        "cross_validated_by_topic_and_style": probability_report(examples, by_topic_and_style, rubric, thresholds),
        "cross_validated_by_topic": probability_report(examples, by_topic, rubric, thresholds),
        **measure(examples, thresholds, rubric, options.shared_data),
    }
    METRICS_PATH.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {MODEL_PATH.name} ({MODEL_PATH.stat().st_size // 1024} KiB) and {METRICS_PATH.name}")


if __name__ == "__main__":
    main()
