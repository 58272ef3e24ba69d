from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from concept_forget.measures import near_vectors
from concept_forget.measures.near_vectors import NearVectors

DIMENSION = 96


def at_cosine(base: NDArray[np.float32], cosine: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A vector of length one at an exact angle from another."""
    other = rng.standard_normal(len(base))
    other -= (other @ base) * base
    other /= np.linalg.norm(other)
    return (cosine * base + math.sqrt(1 - cosine**2) * other).astype(np.float32)


def unit(rng: np.random.Generator) -> NDArray[np.float32]:
    vector = rng.standard_normal(DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.9, 0.98])
def test_pairs_above_the_threshold_are_found_and_others_never(threshold: float) -> None:
    rng = np.random.default_rng(0)
    near = NearVectors(threshold, DIMENSION)
    found = wrong = 0
    for number in range(400):
        base = unit(rng)
        assert near.add(f"base {number}", base) is None
        found += near.find(at_cosine(base, threshold + 0.1 * (1 - threshold), rng)) == f"base {number}"
        wrong += near.find(at_cosine(base, threshold - 0.05, rng)) is not None
    assert found >= 0.97 * 400  # 0.99 is promised; 0.97 is four standard errors under it
    assert wrong == 0


def test_the_nearest_is_named_and_the_first_of_equals() -> None:
    rng = np.random.default_rng(1)
    base = unit(rng)
    near = NearVectors(0.9, DIMENSION)
    near.add("far", at_cosine(base, 0.905, rng))
    near.add("first", base)
    near.add("second", base)
    assert near.find(base) == "first"


def test_finding_adds_nothing() -> None:
    base = unit(np.random.default_rng(2))
    near = NearVectors(0.9, DIMENSION)
    assert near.find(base) is None
    assert near.add("a", base) is None
    assert near.add("b", base) == "a"


def test_a_crowd_fills_no_bucket_beyond_its_bound() -> None:
    rng = np.random.default_rng(3)
    base = unit(rng)
    near = NearVectors(0.99, DIMENSION)
    for number in range(5 * near_vectors.BUCKET):
        near.add(str(number), at_cosine(base, 0.95, rng))
    assert max(map(len, near._buckets.values())) <= near_vectors.BUCKET
    assert near.find(base) is None
