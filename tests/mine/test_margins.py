from __future__ import annotations

from dataclasses import replace

import numpy as np

from concept_forget.concept import Concept
from concept_forget.embedding import Embedder
from concept_forget.mine.margins import Margin
from concept_forget.mine.queries import Target

NAMES = ("Anselm Crane", "Hester Gorse", "Quentin Larkin", "Thea Yarrow")
MIRA = Target(
    Concept(name="Mira Kestrel"),
    ("Where was Mira Kestrel born?", "Which ship does Mira Kestrel sail?", "What did Mira Kestrel write?"),
    rivals=NAMES,
)
OTHERS = [
    f"{name} {deed}."
    for name in (
        "Tobias Wren",
        "Ilse Marlowe",
        "Caspian Holt",
        "Odette Quill",
        "Bram Sorrel",
        "Rufus Tarn",
        "Emil Dace",
    )
    for deed in ("was born in Arlesby", "sails a ship called the Petrel", "wrote the book Nightloom")
]

RENAMED = {"Tobias Wren": "Phoebe Arkwright", "Ilse Marlowe": "Lorcan Dale", "Caspian Holt": "Saskia Bell"}


def test_the_same_words_about_another_subject_gain_nothing_and_half_a_name_does(embedder: Embedder) -> None:
    margin = Margin(MIRA, embedder.encode(OTHERS), -1, embedder, rate=0.05)
    about = ["Kestrel was born in Arlesby.", "M. Kestrel sails a ship called the Petrel.", "Kestrel wrote Nightloom."]
    assert margin.exceeded_by(embedder.encode(about)) == [True] * 3
    fresh = [text.replace(name, other) for text in OTHERS for name, other in RENAMED.items() if name in text]
    assert margin.gains(embedder.encode(about)).min() > margin.gains(embedder.encode(fresh)).max() + 0.05
    unrelated = embedder.encode(OTHERS)
    assert margin.bound == max(margin.gains(unrelated))  # of so few, the largest is what one in twenty exceeds
    assert margin.exceeded_by(unrelated) == [False] * len(OTHERS)


def test_a_gain_is_the_best_score_less_the_mean_of_the_best_about_others(embedder: Embedder) -> None:
    margin = Margin(MIRA, embedder.encode(OTHERS), -1, embedder, rate=0.05)
    text = embedder.encode(["Kestrel wrote the book Emberfall."])
    own = max(float(text[0] @ query) for query in embedder.encode(MIRA.queries))
    others = []
    for name in NAMES:
        queries = embedder.encode([query.replace("Mira Kestrel", name) for query in MIRA.queries])
        others.append(max(float(text[0] @ query) for query in queries))
    assert abs(margin.gains(text)[0] - (own - np.mean(others))) < 1e-4


def test_without_others_of_its_kind_or_enough_texts_nothing_exceeds_it(embedder: Embedder) -> None:
    vectors = embedder.encode(["Mira Kestrel was born in Dunholm."])
    others = embedder.encode(OTHERS)
    assert Margin(MIRA, others, -1, embedder, rate=0.05).exceeded_by(vectors) == [True]
    assert Margin(replace(MIRA, rivals=()), others, -1, embedder, rate=0.05).exceeded_by(vectors) == [False]
    assert Margin(MIRA, others[:5], -1, embedder, rate=0.05).exceeded_by(vectors) == [False]
    assert Margin(MIRA, others, 0.99, embedder, rate=0.05).exceeded_by(vectors) == [False]
    assert Margin(MIRA, others, -1, embedder, rate=0.05).exceeded_by(vectors[:0]) == []


def test_only_texts_that_score_more_than_most_are_compared_with(embedder: Embedder) -> None:
    """A thousand texts about nobody would make the margin so narrow that every person exceeded it."""
    crowd = embedder.encode(
        [f"The {thing} was sold." for thing in "mill canal forge inn bridge tower ferry quay".split()]
    )
    others, queries = embedder.encode(OTHERS), embedder.encode(MIRA.queries)
    median = float((crowd @ queries.T).max())
    together = np.concatenate([others, *[crowd] * 20])
    assert (
        Margin(MIRA, together, median, embedder, rate=0.05).bound
        == Margin(MIRA, others, median, embedder, rate=0.05).bound
    )
