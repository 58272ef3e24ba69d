from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from concept_forget.mine.lexical import LexicalScorer

CHUNKS = [[5, 6, 7], [5, 5, 9, 9, 9], [1], [7, 8, 2, 3, 4, 5], [], [6, 7]]
QUERIES = [[5, 6], [7, 7, 3], [11]]


def by_hand(chunks: list[list[int]], queries: list[list[int]], k: float = 1.5, b: float = 0.75) -> list[float]:
    """BM25 as Robertson & Zaragoza write it, with Lucene's idf and without its constant factor (k + 1)."""
    mean = sum(map(len, chunks)) / len(chunks)
    frequency = Counter(token for chunk in chunks for token in set(chunk))

    def idf(token: int) -> float:
        return math.log(1 + (len(chunks) - frequency[token] + 0.5) / (frequency[token] + 0.5))

    def score(chunk: list[int], query: list[int]) -> float:
        return sum(
            idf(token) * chunk.count(token) / (chunk.count(token) + k * (1 - b + b * len(chunk) / mean))
            for token in set(query)
        ) / sum(idf(token) for token in set(query))

    return [max(score(chunk, query) for query in queries) for chunk in chunks]


def test_a_score_is_the_share_of_its_best_querys_weight() -> None:
    scores = LexicalScorer(QUERIES, 12).score(CHUNKS)
    assert scores == pytest.approx(by_hand(CHUNKS, QUERIES), abs=1e-5)
    assert (scores >= 0).all()
    assert (scores < 1).all()


def test_words_that_no_query_has_count_for_the_length_alone() -> None:
    changed = [[token if token in (3, 5, 6, 7) else 10 for token in chunk] for chunk in CHUNKS]
    scorer = LexicalScorer(QUERIES, 12)
    assert scorer.score(changed).tobytes() == scorer.score(CHUNKS).tobytes()
    assert (scorer.score([[*chunk, 10, 10] for chunk in CHUNKS])[:1] != scorer.score(CHUNKS)[:1]).all()


def test_a_shard_of_empty_chunks_has_no_score() -> None:
    assert LexicalScorer(QUERIES, 12).score([[], []]).tolist() == [0, 0]


def test_nothing_is_found_for_queries_without_words() -> None:
    assert np.asarray(LexicalScorer([[]], 12).score(CHUNKS)).tolist() == [0] * len(CHUNKS)
