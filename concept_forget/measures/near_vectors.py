"""Vectors that nearly coincide, found one by one as they come: signs of random projections in bands of a hash table."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from concept_forget.measures.conformal import DECIMALS
from concept_forget.measures.near_duplicates import band_rows
from concept_forget.records import named_seed

SIGNS = 512
BUCKET = 32
"""Vectors that a bucket keeps, the newest, so that a crowd of like ones is not compared each with each."""


class NearVectors:
    """Vectors seen so far, and for a new one the earlier one that it nearly coincides with.

    A random hyperplane parts two vectors at the angle θ with probability θ/π. Candidates agree in a whole band of
    signs; what decides is the exact cosine. Pairs at the threshold share a band with probability 0.99.

    Source: Charikar 2002, "Similarity estimation techniques from rounding algorithms", §3.

    Args:
        threshold: Cosine from which on two vectors count as one, in (0, 1].
        dimension: Of the vectors, which have length one.
        seed: Draws the hyperplanes.
    """

    def __init__(self, threshold: float, dimension: int, seed: int = 0) -> None:
        self._threshold = threshold
        self._rows = band_rows(1 - math.acos(threshold) / math.pi, SIGNS) if threshold < 1 else SIGNS
        self._planes = _draw_planes(dimension, SIGNS // self._rows * self._rows, seed)
        self._keys: list[str] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._buckets: dict[tuple[int, bytes], list[int]] = {}

    def add(self, key: str, vector: NDArray[np.float32]) -> str | None:
        """Add a vector, and find out whether it nearly coincides with an earlier one.

        Args:
            key: The name under which later vectors are told of it.
            vector: Shape (dimension,), of length one.

        Returns:
            The key of the nearest earlier vector, the first among equals, where its cosine reaches the threshold.
        """
        places = list(self._places(vector))
        found = self._nearest(vector, places)
        number = len(self._keys)
        self._keys.append(key)
        self._vectors.append(vector)
        for place in places:
            bucket = self._buckets.setdefault(place, [])
            bucket.append(number)
            del bucket[:-BUCKET]
        return None if found is None else self._keys[found]

    def find(self, vector: NDArray[np.float32]) -> str | None:
        """What ``add`` would return, without adding the vector."""
        found = self._nearest(vector, list(self._places(vector)))
        return None if found is None else self._keys[found]

    def _places(self, vector: NDArray[np.float32]) -> Iterator[tuple[int, bytes]]:
        signs = (vector @ self._planes > 0).reshape(-1, self._rows)  # (bands, rows)
        for band, row in enumerate(np.packbits(signs, axis=1)):
            yield band, row.tobytes()

    def _nearest(self, vector: NDArray[np.float32], places: list[tuple[int, bytes]]) -> int | None:
        numbers = sorted({number for place in places for number in self._buckets.get(place, ())})
        if not numbers:
            return None
        cosines = np.round(np.stack([self._vectors[number] for number in numbers]) @ vector, DECIMALS)
        best = int(cosines.argmax())
        return numbers[best] if cosines[best] >= self._threshold else None


@functools.cache
def _draw_planes(dimension: int, count: int, seed: int) -> NDArray[np.float32]:
    """Normals of hyperplanes, shape (dimension, count): drawn once, however many sets of vectors are kept."""
    rng = np.random.default_rng(named_seed(seed, "near vectors"))
    return rng.standard_normal((dimension, count)).astype(np.float32)
