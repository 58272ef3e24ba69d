from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from concept_forget.mine.variety import Cluster, choose, cluster

LONG = "Mira Kestrel was born in the harbour town of Dunholm by the river and drew maps of all its streets and bridges"


def draw(count: int, dimension: int = 8, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.sort(rng.uniform(0.3, 0.9, count))[::-1].round(4), vectors


def test_near_copies_of_a_better_text_are_only_counted() -> None:
    texts = [f"{LONG}.", "A lamp was lit.", f"{LONG}!", f"{LONG} as well.", "A lamp was lit, they said."]
    assert cluster(texts, [2, 1, 3, 1, 1], 0.8, 0) == [Cluster(0, 6), Cluster(1, 1), Cluster(4, 1)]


def test_without_a_threshold_every_text_stands_for_itself() -> None:
    assert cluster([LONG, f"{LONG}!"], [2, 3], None, 0) == [Cluster(0, 2), Cluster(1, 3)]


def test_a_copy_of_a_copy_goes_to_the_best_of_them() -> None:
    words = LONG.split()
    texts = [" ".join(words), " ".join([*words, "today"]), " ".join([*words, "today", "again"])]
    assert cluster(texts, [1, 1, 1], 0.94, 0) == [Cluster(0, 3)]


def test_all_are_kept_where_they_are_no_more_than_asked_for() -> None:
    scores, vectors = draw(5)
    assert choose(scores, vectors, ["a"] * 5, 5, variety=1.0, facet_share=0.1) == [0, 1, 2, 3, 4]
    assert choose(np.empty(0), np.empty((0, 8), np.float32), [], 3, variety=0.5, facet_share=0.5) == []


def test_without_variety_the_best_are_kept() -> None:
    scores, vectors = draw(30)
    assert choose(scores, vectors, [""] * 30, 7, variety=0.0, facet_share=1.0) == list(range(7))


@pytest.mark.parametrize("variety", [0.2, 0.5, 1.0])
def test_each_choice_has_the_greatest_marginal_relevance(variety: float) -> None:
    scores, vectors = draw(25, seed=3)
    left, chosen = list(range(25)), []
    while len(chosen) < 9:
        worth = [
            round(
                (1 - variety) * scores[n] - variety * max((float(vectors[n] @ vectors[m]) for m in chosen), default=0),
                4,
            )
            for n in left
        ]
        chosen.append(left.pop(int(np.argmax(worth))))
    assert choose(scores, vectors, [""] * 25, 9, variety=variety, facet_share=1.0) == sorted(chosen)


def test_likeness_counts_only_against_what_points_the_same_way() -> None:
    """The first likeness is a cosine as it is: one that points away from the chosen text gains by it."""
    vectors = np.array([[1, 0], [1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    assert choose(np.array([0.9, 0.8, 0.7, 0.5]), vectors, [""] * 4, 2, variety=0.5, facet_share=1.0) == [0, 3]


def test_a_facet_that_has_its_share_waits_for_the_others() -> None:
    scores, vectors = draw(40)
    facets = ["book"] * 20 + ["ship"] * 15 + ["home"] * 5
    chosen = choose(scores, vectors, facets, 10, variety=0.0, facet_share=0.4)
    assert Counter(facets[n] for n in chosen) == {"book": 4, "ship": 4, "home": 2}
    assert chosen == [0, 1, 2, 3, 20, 21, 22, 23, 35, 36]


def test_a_facet_fills_what_the_others_leave_open() -> None:
    scores, vectors = draw(12)
    facets = ["book"] * 10 + ["ship"] * 2
    assert choose(scores, vectors, facets, 8, variety=0.0, facet_share=0.25) == [0, 1, 2, 3, 4, 5, 10, 11]
