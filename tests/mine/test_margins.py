from __future__ import annotations

import numpy as np

from concept_forget.concept import Concept
from concept_forget.embedding import Embedder
from concept_forget.mine.margins import Margin
from concept_forget.mine.queries import Target

MIRA = Target(
    Concept(name="Mira Kestrel"),
    ("Where was Mira Kestrel born?", "Which ship does Mira Kestrel sail?", "What did Mira Kestrel write?"),
)
NAMES = ("Anselm Crane", "Hester Gorse", "Quentin Larkin", "Thea Yarrow")
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
    margin = Margin(MIRA, NAMES, embedder.encode(OTHERS), embedder, rate=0.05)
    about = ["Kestrel was born in Arlesby.", "M. Kestrel sails a ship called the Petrel.", "Kestrel wrote Nightloom."]
    assert margin.exceeded_by(embedder.encode(about)) == [True] * 3
    fresh = [text.replace(name, other) for text in OTHERS for name, other in RENAMED.items() if name in text]
    exceeding = margin.exceeded_by(embedder.encode(fresh))
    assert sum(exceeding) <= 0.2 * len(exceeding)


def test_a_gain_is_the_best_score_less_the_mean_of_the_best_about_others(embedder: Embedder) -> None:
    margin = Margin(MIRA, NAMES, embedder.encode(OTHERS), embedder, rate=0.05)
    text = embedder.encode(["Kestrel wrote the book Emberfall."])
    own = max(float(text[0] @ query) for query in embedder.encode(MIRA.queries))
    others = []
    for name in NAMES:
        queries = embedder.encode([query.replace("Mira Kestrel", name) for query in MIRA.queries])
        others.append(max(float(text[0] @ query) for query in queries))
    assert abs(margin.gains(text)[0] - (own - np.mean(others))) < 1e-4


def test_without_random_names_or_enough_texts_nothing_exceeds_it(embedder: Embedder) -> None:
    vectors = embedder.encode(["Mira Kestrel was born in Dunholm."])
    assert Margin(MIRA, (), embedder.encode(OTHERS), embedder, rate=0.05).exceeded_by(vectors) == [False]
    assert Margin(MIRA, NAMES, embedder.encode(OTHERS[:5]), embedder, rate=0.05).exceeded_by(vectors) == [False]
    assert Margin(MIRA, NAMES, embedder.encode(OTHERS), embedder, rate=0.05).exceeded_by(vectors[:0]) == []
