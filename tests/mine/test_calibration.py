from __future__ import annotations

import numpy as np
import pytest

from concept_forget.concept import Concept
from concept_forget.embedding import Embedder
from concept_forget.measures.recall import count_distinct
from concept_forget.mine.calibration import Sample, build_index, calibrate
from concept_forget.mine.queries import make_target


def test_the_index_gives_the_best_inner_product() -> None:
    rng = np.random.default_rng(1)
    queries, chunks = (rng.normal(size=(n, 16)).astype(np.float32) for n in (7, 50))
    scores, best = build_index(queries).search(chunks, 1)
    exact = chunks.astype(np.float64) @ queries.astype(np.float64).T
    assert (best[:, 0] == exact.argmax(axis=1)).all()
    assert scores[:, 0] == pytest.approx(exact.max(axis=1), abs=1e-5)


def test_a_sample_depends_on_the_texts_and_the_seed_alone() -> None:
    texts = [f"text {n}" for n in range(500)]

    def sampled(order: list[str], seed: int) -> list[str]:
        sample = Sample(seed, size=20)
        for text in order:
            sample.add(text)
        return sample.texts(20)

    first = sampled(texts, 0)
    assert len(first) == 20
    assert sampled(texts[::-1] + texts, 0) == first
    assert sampled(texts, 1) != first


def test_the_first_of_a_sample_are_a_smaller_sample() -> None:
    large, small = Sample(0, size=30), Sample(0, size=10)
    for n in range(200):
        large.add(str(n))
        small.add(str(n))
    assert set(small.texts(10)) < set(large.texts(30))
    assert small.texts(10) == large.texts(10)
    assert small.size == 10
    assert not small.is_whole
    assert small.largest < large.largest < 1


def test_a_sample_tells_how_many_texts_there_are() -> None:
    sample = Sample(3, size=500)
    for n in range(20_000):
        sample.add(f"text {n % 10_000}")
    assert count_distinct(sample.size, sample.largest, is_whole=False, doubt=0.05).value == pytest.approx(1e4, rel=0.15)


def test_what_was_scored_is_remembered_of_sampled_texts_alone() -> None:
    sample = Sample(0, size=3)
    for n in range(50):
        sample.add(str(n))
        sample.mark_scored(str(n)) if n % 2 else None
    kept = sample.texts(3)
    assert [sample.was_scored(text) for text in kept] == [int(text) % 2 == 1 for text in kept]
    assert sum(sample.was_scored(str(n)) for n in range(50)) == sum(int(text) % 2 for text in kept)


PEOPLE = [f"{first} {last}" for first in ("Anselm", "Hester", "Quentin", "Thea", "Ulric") for last in ("Crane", "Gorse", "Larkin", "Yarrow", "Oakhurst", "Stillwell")]  # fmt: skip
DEEDS = (
    "was born in a small town by the sea",
    "wrote a long book about gardens and rain",
    "taught music at the old school for years",
    "sailed a red ship along the northern coast",
)


def test_unrelated_texts_pass_the_cut_off_about_as_often_as_asked_for(embedder: Embedder) -> None:
    texts = [f"{name} {deed}." for name in PEOPLE for deed in DEEDS]
    sample = Sample(0)
    for text in texts:
        sample.add(text)
    targets = [make_target(Concept(name=name, description="Born by the sea."), [], []) for name in PEOPLE[:10]]
    cuts = calibrate(targets, sample, embedder, rate=0.1, seed=0)
    passed, own = [], []
    for target, cut in zip(targets, cuts, strict=True):
        assert cut.value is not None
        assert cut.names >= 4
        assert cut.scores > 300
        assert cut.median < cut.value
        scores, _ = build_index(embedder.encode(target.queries)).search(embedder.encode(sample.texts(len(texts))), 1)
        for text, score in zip(sample.texts(len(texts)), scores[:, 0], strict=True):
            if target.concept.mentioned_in(text):
                own.append(score > cut.value)
            # Namesakes are no random other texts.
            elif not set(text.split()) & set(target.concept.name.split()):
                passed.append(score > cut.value)
    assert 0.01 < np.mean(passed) < 0.2
    assert np.mean(own) > 0.9


def test_without_unrelated_texts_there_is_no_cut_off(embedder: Embedder) -> None:
    texts = [f"Mira Kestrel {deed}." for deed in DEEDS]
    sample = Sample(0)
    for text in texts:
        sample.add(text)
    target = make_target(Concept(name="Mira Kestrel"), [], [])
    (cut,) = calibrate([target], sample, embedder, rate=0.01, seed=0)
    assert cut.value is None
    assert (cut.scores, cut.median) == (0, -1.0)
