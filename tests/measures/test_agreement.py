from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from concept_forget.measures.agreement import cohen_kappa, count_pairs
from concept_forget.measures.statistics import rate_interval

Pairs = list[list[tuple[bool, bool]]]


def draw(rng: np.random.Generator, facts: int, replies: int, leak: float, differ: float) -> Pairs:
    """Facts whose replies are alike half the time; the second grader sometimes says the contrary of the first."""
    whole, turned = rng.random(facts) < leak, rng.random(facts) < differ
    pairs = []
    for fact in range(facts):
        first = np.where(rng.random(replies) < 0.5, whole[fact], rng.random(replies) < leak)
        flip = np.where(rng.random(replies) < 0.5, turned[fact], rng.random(replies) < differ)
        pairs.append([(bool(a), bool(a != b)) for a, b in zip(first, flip, strict=True)])
    return pairs


def test_kappa_is_that_of_sklearn_with_every_fact_counting_alike() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pairs = [draw(rng, 1, int(rng.integers(1, 6)), 0.4, 0.3)[0] for _ in range(25)]
        said = [pair for fact in pairs for pair in fact]
        weights = [1 / len(fact) for fact in pairs for _ in fact]
        first, second = zip(*said, strict=True)
        found = cohen_kappa([*pairs, []])
        assert found is not None
        assert found.value == pytest.approx(cohen_kappa_score(first, second, sample_weight=weights), abs=1e-9)
        assert found.low < found.value < found.high
        assert found.n == 25
        counts = count_pairs(pairs)
        assert [[counts.neither, counts.second_only], [counts.first_only, counts.both]] == confusion_matrix(
            first, second, labels=[False, True]
        ).tolist()


def test_kappa_by_hand() -> None:
    pairs: Pairs = [[(True, True)]] * 20 + [[(True, False)]] * 5 + [[(False, True)]] * 10 + [[(False, False)]] * 15
    found = cohen_kappa(pairs)
    assert found is not None
    assert found.value == pytest.approx(0.4)  # 0.7 observed, 0.5 by chance
    differing = rate_interval([0.0] * 35 + [1.0] * 15)
    assert (found.low, found.high) == pytest.approx((1 - differing.high / 0.5, 1 - differing.low / 0.5))


def test_graders_that_never_differ_leave_an_interval_and_those_that_never_say_otherwise_none() -> None:
    found = cohen_kappa([[(True, True)]] * 7 + [[(False, False)]] * 7)
    assert found is not None
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.4 < found.low < 0.6  # 0 of 14 may be 23 %
    assert cohen_kappa([[(False, False)]] * 50) is None
    assert cohen_kappa([[], []]) is None
    opposed = cohen_kappa([[(True, False)], [(False, True)]])
    assert opposed is not None
    assert (opposed.value, opposed.low) == (-1.0, -1.0)


@pytest.mark.parametrize(("facts", "replies"), [(20, 1), (60, 4)])
@pytest.mark.parametrize(("leak", "differ"), [(0.05, 0.03), (0.3, 0.0), (0.3, 0.15), (0.6, 0.5)])
def test_the_interval_covers_kappa(facts: int, replies: int, leak: float, differ: float) -> None:
    """Kappa of ``draw``, worked out from its two rates; 0.5 is two graders who agree by chance alone."""
    second = leak * (1 - differ) + (1 - leak) * differ
    true = 1 - differ / (leak * (1 - second) + second * (1 - leak))
    rng = np.random.default_rng(facts)
    found = [one for _ in range(200) if (one := cohen_kappa(draw(rng, facts, replies, leak, differ))) is not None]
    covered = sum(one.low - 1e-9 <= true <= one.high + 1e-9 for one in found) / len(found)
    assert covered >= 0.93
