"""Near-duplicates among many texts, found one by one as they come: MinHash signatures in bands of a hash table."""

from __future__ import annotations

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

from concept_forget.concept import fold
from concept_forget.records import named_seed

FOUND = 0.99
"""A pair just as alike as the threshold is found with this probability at least; a more alike one with a higher."""

_Hashes = NDArray[np.uint64]

BUCKET = 8
"""Texts that a bucket keeps, the newest: without a bound, ten thousand texts of one template would be compared each
with each. What such texts have of their own brings a true pair together in other bands."""

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")


def shingles(text: str, length: int) -> list[str]:
    """Every run of so many words of a text, folded; all of a shorter text; of a text without words its signs.

    Scripts written without spaces are taken letter by letter.
    """
    words = _WORD.findall(fold(text)) or fold(text).split()
    if len(words) <= length:
        return [" ".join(words)] if words else []
    return list(dict.fromkeys(" ".join(words[start : start + length]) for start in range(len(words) - length + 1)))


class NearDuplicates:
    """Texts seen so far, and for a new one the earlier one that it nearly repeats.

    Candidates share a band of their MinHash signatures; what decides is their exact Jaccard similarity, so that nothing
    is called a near-duplicate that is none. Time and memory grow linearly with the texts. Texts with the same shingles
    are found always, other pairs with a probability of ``FOUND`` or more.

    Source: Broder 1997, "On the resemblance and containment of documents"; Leskovec, Rajaraman and Ullman, "Mining of
    massive datasets", §3.3 and §3.4; the hash family is that of Dietzfelbinger 1996, "Universal hashing and k-wise
    independent random variables via integer arithmetic without primes".

    Args:
        threshold: Jaccard similarity of the word shingles from which on two texts are near-duplicates, in (0, 1].
        shingle: Words in a shingle.
        permutations: Length of a signature.
        seed: Draws the hash functions.

    Raises:
        ValueError: The threshold is outside (0, 1], or a count is below 1.
    """

    def __init__(self, threshold: float = 0.8, shingle: int = 3, permutations: int = 128, seed: int = 0) -> None:
        if not 0 < threshold <= 1 or shingle < 1 or permutations < 1:
            raise ValueError(f"no near-duplicates by {threshold=}, {shingle=}, {permutations=}")
        self._threshold = threshold
        self._shingle = shingle
        self._rows = band_rows(threshold, permutations)
        self._bands = permutations // self._rows
        rng = np.random.default_rng(named_seed(seed, "near-duplicates"))
        used = self._rows * self._bands
        self._factors = _draw(rng, (used, 1))
        self._terms = _draw(rng, (used, 1))
        self._mixers = _draw(rng, (self._bands, self._rows))
        self._keys: list[str] = []
        self._hashes: list[bytes] = []  # of each text its shingles, sorted: a set of integers takes five times as much
        self._same: dict[bytes, int] = {}
        self._buckets: dict[int, int | list[int]] = {}

    def __len__(self) -> int:
        """Texts that were added, those with the shingles of an earlier one aside."""
        return len(self._keys)

    def add(self, key: str, text: str) -> str | None:
        """Add a text, and find out whether it nearly repeats an earlier one.

        Args:
            key: The name under which later texts are told of it.
            text: Any text.

        Returns:
            The key of the earlier text that it is most like, the first among equals, where one is at least as alike
            as the threshold; else None.
        """
        hashes = _hash(shingles(text, self._shingle))
        known = hashes.tobytes()
        if known in self._same:
            return self._keys[self._same[known]]
        places = self._places(hashes)
        found = self._most_alike(hashes, places)
        self._keep(len(self._keys), places)
        self._same[known] = len(self._keys)
        self._keys.append(key)
        self._hashes.append(known)
        return None if found is None else self._keys[found]

    def find(self, text: str) -> str | None:
        """What ``add`` would return, without adding the text."""
        hashes = _hash(shingles(text, self._shingle))
        found = self._same.get(hashes.tobytes())
        if found is None:
            found = self._most_alike(hashes, self._places(hashes))
        return None if found is None else self._keys[found]

    def _most_alike(self, hashes: _Hashes, places: list[int]) -> int | None:
        shared: set[int] = set()
        for place in places:
            bucket = self._buckets.get(place, ())
            shared.update((bucket,) if isinstance(bucket, int) else bucket)
        best, most, own = None, 0.0, frozenset(hashes.tolist())
        for number in sorted(shared):
            alike = jaccard(own, frozenset(memoryview(self._hashes[number]).cast("Q")))
            if alike >= self._threshold and alike > most:
                best, most = number, alike
        return best

    def _keep(self, number: int, places: list[int]) -> None:
        for place in places:
            bucket = self._buckets.get(place)
            if bucket is None:
                self._buckets[place] = number  # nearly all stay alone
            elif isinstance(bucket, int):
                self._buckets[place] = [bucket, number]
            else:
                bucket.append(number)
                del bucket[:-BUCKET]

    def _places(self, hashes: _Hashes) -> list[int]:
        """The bucket in each band: a hash of the band's rows; two bands that share one cost a comparison."""
        if not hashes.size:
            return []
        signature = ((self._factors * (hashes >> np.uint64(32)) + self._terms) >> np.uint64(32)).min(axis=1)
        places: list[int] = (signature.reshape(self._mixers.shape) * self._mixers).sum(axis=1).tolist()
        return places


def band_rows(threshold: float, permutations: int) -> int:
    """Rows of a band: the most with which a pair at the threshold shares a band with probability ``FOUND``.

    Each row agrees with the pair's Jaccard similarity s as probability, so that one of b bands of r rows agrees with
    1 - (1 - s^r)^b. More rows spare comparisons of texts that are not alike.
    """
    rows = 1
    while (rows + 1) <= permutations and 1 - (1 - threshold ** (rows + 1)) ** (permutations // (rows + 1)) >= FOUND:
        rows += 1
    return rows


def jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    """The share of all shingles of two texts that both have, in [0, 1]; 1 for two empty ones."""
    both = len(first & second)
    union = len(first) + len(second) - both
    return both / union if union else 1.0


def _draw(rng: np.random.Generator, shape: tuple[int, int]) -> _Hashes:
    return rng.integers(0, 2**64, size=shape, dtype=np.uint64)


def _hash(parts: list[str]) -> _Hashes:
    """64 bits of each shingle, sorted, equal on every machine."""
    digests = (hashlib.blake2b(part.encode("utf-8", "surrogatepass"), digest_size=8).digest() for part in parts)
    return np.sort(np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64))
