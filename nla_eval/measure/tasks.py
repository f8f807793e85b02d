"""Tasks that test the content of explanations: pick the continuation among ten, pick the activation among 128, name the
next token, the topic and the speaker. Controls: another row's explanation, an empty text, a text-only reader of the
context and, if one can be fitted, a linear probe on the activation.

In: held-out rows and the text of every reader. Out: one `Task` each. Runs no weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from ..models.scores import normalised
from .figures import Figure, Floats, Ints, balanced_share, share
from .held_out import HeldOut
from .readers import FOLDS, hits_of_texts, hits_of_vectors, predicted_directions

READERS = (
    "explanation", "reconstruction", "draws", "draws_reconstruction", "shuffled", "empty", "text_only", "probe",
)  # fmt: skip
"""The inputs of a classifier. In pair sets only: `reconstruction`, the AR's vector of the explanation; `draws`, the
words of several draws at temperature 1; `draws_reconstruction`, the mean of the AR's vectors of these draws."""
CHOICES = 10
RETRIEVAL = 128
TOPICS = 6
_FEWEST_PER_CLASS = 3
_FEWEST_PER_FOLD = 12
_CONVERSATIONS_PER_TOPIC = 12
_NEXT = re.compile(r"next:\s*(\S+)")
_EXPECTS = re.compile(r"[Ee]xpect\w*[^\"“]{0,40}?(?:\"([^\"]+)\"|“([^”]+)”|'([^']*\"[^']*)')")
_PIECES = re.compile(r"\w+|[^\w\s]")


class Task(BaseModel):
    """One question, answered from several inputs (readers)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    metric: str
    chance: float
    readers: dict[str, Figure]
    """Reader (one of `READERS`) to its figure."""
    note: str = ""


@dataclass(frozen=True)
class Read:
    """The text of each reader, row by row."""

    explanation: Sequence[str]
    others: Ints
    """(n,) the row whose explanation the shuffled reader gets."""
    contexts: Sequence[str]

    def by_reader(self) -> dict[str, list[str]]:
        """Reader to (n,) texts."""
        return {
            "explanation": list(self.explanation),
            "shuffled": [self.explanation[j] for j in self.others.tolist()],
            "empty": [""] * len(self.explanation),
            "text_only": list(self.contexts),
        }


def held_out_tasks(
    held: HeldOut, read: Read, vectors: Mapping[str, NDArray[np.float32]]
) -> tuple[list[Task], dict[str, str]]:
    """(tasks, task to the reason why it could not be measured).

    Args:
        held: The rows.
        read: Their texts.
        vectors: Reader to (n, d_model) reconstructions, for retrieval.
    """
    asked: dict[str, Callable[[], Task]] = {
        "suffix_choice": lambda: suffix_choice(held, read),
        "retrieval": lambda: retrieval(held, vectors),
        "next_token": lambda: next_token(held, read),
        "topic": lambda: _classified("topic", topics(held), held, read),
        "speaker": lambda: _classified("speaker", held.roles, held, read),
    }
    tasks, why = [], {}
    for name, ask in asked.items():
        try:
            tasks.append(ask())
        except NotEnoughError as reason:
            why[name] = str(reason)
    return tasks, why


class NotEnoughError(ValueError):
    """The rows are too few for the task; the message says why."""


def suffix_choice(held: HeldOut, read: Read, seed: int = 0) -> Task:
    """Which of ten texts is the true continuation of the context? The other nine come from other conversations in the
    same fold of the probe, of the same role if there are enough.

    The reader is TF-IDF cosine (words without stop words, fitted on the rows' contexts and continuations). It credits
    shared words only; a tie counts as a random choice. The probe predicts the continuation's latent direction.
    """
    rows = np.array([i for i, t in enumerate(held.continuations) if len(t.split()) >= 5], np.int64)
    if len(np.unique(held.conversation[rows])) < CHOICES:
        raise NotEnoughError(f"fewer than {CHOICES} conversations go on after the position")
    folds = _folds(held.conversation[rows], seed)
    options = _options(held, rows, folds, seed)
    conversations = held.conversation[rows]
    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True)
    vectorizer.fit([*held.contexts, *held.continuations])
    ahead = vectorizer.transform(held.continuations)
    readers = {}
    for name, texts in read.by_reader().items():
        similar = np.asarray((vectorizer.transform(texts) @ ahead.T).todense())
        readers[name] = share(_chosen(similar, options), conversations)
    note = "scorer: TF-IDF cosine"
    if len(np.unique(folds)) > 1:
        wide = np.zeros((len(held), len(held)))
        following = [held.continuations[i] for i in rows.tolist()]
        wide[np.ix_(rows, rows)] = predicted_directions(held.activations[rows], following, folds)
        readers["probe"] = share(_chosen(wide, options), conversations)
        note += "; probe: ridge onto the continuation's latent direction"
    return Task(name="suffix_choice", metric=f"top 1 of {CHOICES}", chance=1 / CHOICES, readers=readers, note=note)


def _folds(conversation: Ints, seed: int) -> Ints:
    """(m,) fold of each row: whole conversations, up to five folds of at least twelve each, seeded."""
    names, inverse = np.unique(conversation, return_inverse=True)
    count = max(1, min(FOLDS, len(names) // _FEWEST_PER_FOLD))
    return np.asarray(np.random.default_rng(seed).permutation(len(names))[inverse] % count)


def _options(held: HeldOut, rows: Ints, folds: Ints, seed: int) -> Ints:
    """(m, CHOICES) rows whose continuations are the options, all of one fold. The first is the true one."""
    rng = np.random.default_rng(seed)
    roles = np.array(held.roles)
    made = []
    for row, fold in zip(rows.tolist(), folds.tolist(), strict=True):
        elsewhere = rows[(held.conversation[rows] != held.conversation[row]) & (folds == fold)]
        alike = elsewhere[roles[elsewhere] == roles[row]]
        pool = alike if len(alike) >= CHOICES - 1 else elsewhere
        made.append([row, *rng.choice(pool, CHOICES - 1, replace=False).tolist()])
    return np.array(made)


def _chosen(similar: Floats, options: Ints) -> Floats:
    """(m,) probability that the first option is picked if ties are broken at random."""
    offered = np.take_along_axis(similar[options[:, 0]], options, axis=1)
    best = offered.max(axis=1, keepdims=True)
    tied = np.isclose(offered, best)
    return np.asarray(np.where(tied[:, 0], 1.0 / tied.sum(axis=1), 0.0))


def retrieval(held: HeldOut, vectors: Mapping[str, NDArray[np.float32]]) -> Task:
    """Which activation does a text describe? Compares its reconstruction with the activations of its group, by cosine
    after mean-centring."""
    size = min(RETRIEVAL, len(held))
    readers = {}
    for name, made in vectors.items():
        hits, rows = retrieved(made, held.activations, size)
        readers[name] = share(hits, held.conversation[rows])
    return Task(name="retrieval", metric=f"top 1 of {size}", chance=1 / size, readers=readers)


def retrieved(vectors: NDArray[np.float32], activations: NDArray[np.float32], size: int) -> tuple[Floats, Ints]:
    """(hits, rows): whether each reconstruction is nearest to its own activation among its group of `size`.

    Groups are drawn with a seed. Rows left over after the last whole group are left out.
    """
    centre = normalised(activations).mean(axis=0)
    ours, theirs = normalised(normalised(vectors) - centre), normalised(normalised(activations) - centre)
    order = np.random.default_rng(0).permutation(len(ours))
    groups = [order[s : s + size] for s in range(0, len(order) - size + 1, size)]
    hits = [np.argmax(ours[g] @ theirs[g].T, axis=1) == np.arange(len(g)) for g in groups]
    return np.concatenate(hits).astype(float), np.concatenate(groups)


def next_token(held: HeldOut, read: Read) -> Task:
    """Does the text name the target's likeliest next token? The answer is the first token after "next:", or the first
    in quotation marks after a form of "expect". The text-only reader answers with what followed the previous occurrence
    of the last word."""
    wanted = held.next_token
    readers = {}
    for name, texts in read.by_reader().items():
        said = [followed(t) if name == "text_only" else said_next(t) for t in texts]
        readers[name] = share(np.array([s == w for s, w in zip(said, wanted, strict=True)]), held.conversation)
    return Task(name="next_token", metric="agreement", chance=0.0, readers=readers, note="no probe is fitted")


def said_next(text: str) -> str | None:
    """The next token that an explanation names; None if it names none."""
    if found := _NEXT.search(text):
        return found[1]
    found = _EXPECTS.search(text)
    return next(group.strip() for group in found.groups() if group) if found else None


def followed(context: str) -> str | None:
    """What came after the previous occurrence of the context's last piece."""
    pieces: list[str] = _PIECES.findall(context[-8000:])
    for i in range(len(pieces) - 2, -1, -1):
        if pieces[i] == pieces[-1]:
            return pieces[i + 1]
    return None


def topics(held: HeldOut, classes: int = TOPICS) -> list[str]:
    """A topic label for every row, without annotation: k-means (seed 0) on the TF-IDF of each conversation's longest
    context in 32 latent dimensions. A class is named by its three heaviest words.

    There is one class per twelve conversations, at most `classes`. The text-only reader's score shows how good the
    labels are: if it is near chance, no reader can predict them.
    """
    names = np.unique(held.conversation)
    classes = min(classes, len(names) // _CONVERSATIONS_PER_TOPIC)
    if classes < 2:
        raise NotEnoughError(f"{len(names)} conversations are too few for two topics")
    longest: dict[int, str] = {}
    for conversation, text in zip(held.conversation.tolist(), held.contexts, strict=True):
        longest[conversation] = max(longest.get(conversation, ""), text, key=len)
    vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True, token_pattern=r"[A-Za-z]{4,}", min_df=2)
    try:
        tfidf = vectorizer.fit_transform(longest.values())
    except ValueError as nothing:
        raise NotEnoughError("no word stands in two conversations") from nothing
    classes = min(classes, len(np.unique(tfidf.toarray().round(6), axis=0)))
    if classes < 2:
        raise NotEnoughError("the contexts of all conversations hold the same words")
    latent = normalize(TruncatedSVD(min(32, min(tfidf.shape) - 1), random_state=0).fit_transform(tfidf))
    found = KMeans(classes, random_state=0, n_init=10).fit_predict(latent)
    words = vectorizer.get_feature_names_out()
    title = {}
    for k in range(classes):
        weight = np.asarray(tfidf[found == k].sum(axis=0)).ravel()
        title[k] = f"{k}: " + ", ".join(words[np.argsort(-weight, kind="stable")[:3]])
    of = dict(zip(longest, found.tolist(), strict=True))
    return [title[of[c]] for c in held.conversation.tolist()]


def _classified(name: str, labels: Sequence[str], held: HeldOut, read: Read) -> Task:
    """Classify rows by label. Classes with fewer than three conversations are left out."""
    spread = Counter(label for label, _ in {*zip(labels, held.conversation.tolist(), strict=True)})
    keep = np.array([spread[label] >= _FEWEST_PER_CLASS for label in labels])
    kept = [label for label, ok in zip(labels, keep.tolist(), strict=True) if ok]
    classes = sorted(set(kept))
    if len(classes) < 2:
        raise NotEnoughError(f"fewer than two classes of {name} stand in {_FEWEST_PER_CLASS} conversations each")
    groups = held.conversation[keep]
    readers = {}
    for reader, texts in read.by_reader().items():
        rows = [t for t, ok in zip(texts, keep.tolist(), strict=True) if ok]
        readers[reader] = balanced_share(hits_of_texts(rows, kept, groups), kept, groups)
    readers["probe"] = balanced_share(hits_of_vectors(held.activations[keep], kept, groups), kept, groups)
    dropped = len(labels) - len(kept)
    note = f"classes: {'; '.join(classes)}" + (f"; {dropped} rows of rarer classes left out" if dropped else "")
    return Task(name=name, metric="balanced accuracy", chance=1 / len(classes), readers=readers, note=note)
