from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from concept_forget.concept import Concept
from concept_forget.embedding import Embedder, find_encoder
from concept_forget.mine import cascade as module
from concept_forget.mine.calibration import Sample
from concept_forget.mine.cascade import RIDGE, Cascade, apply_map, fit_map
from concept_forget.mine.chunks import Chunk
from concept_forget.mine.hits import Placed
from concept_forget.mine.queries import Target
from concept_forget.mine.static import StaticEncoder, find_static

FAR = 4
THINGS = ("ship", "book", "town")
FILLER = [f"what is the {thing} of {n}, who is in it" for n in range(40) for thing in THINGS]
WANTED = ["she sails a ship called the tern", "the ship called tern was born in a town", "tern"]
TARGET = Target(Concept(name="Mira Kestrel"), ("Mira Kestrel sails a ship called the tern",))
OTHER = Target(Concept(name="Bram Sorrel"), ("Bram Sorrel wrote the book by 39",))


def placed(texts: list[str], concepts: int = 1) -> list[Placed]:
    return [Placed(Chunk(str(n), 0, len(text), text), n, (FAR,) * concepts) for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def tiny(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    embedder = Embedder(find_encoder(str(tiny_encoder)), tmp_path_factory.mktemp("vectors") / "vectors.sqlite")
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def static(tiny: Embedder, tmp_path_factory: pytest.TempPathFactory) -> StaticEncoder:
    return find_static(tiny.encoder, tmp_path_factory.mktemp("cache"))


def propose(
    texts: list[str], tiny: Embedder, static: StaticEncoder, count: int, shard: int = 1000, *targets: Target
) -> list[str]:
    sample = Sample(0)
    targets = targets or (TARGET,)
    cascade = Cascade(targets, static, tiny, sample, count)
    entries = placed(texts, len(targets))
    for start in range(0, len(entries), shard):
        for entry in entries[start : start + shard]:
            sample.add(entry.chunk.text)
        cascade.add(entries[start : start + shard])
    cascade.add([])
    return [entry.chunk.text for entry in cascade.propose()]


def test_what_shares_words_and_meaning_with_a_query_is_proposed(tiny: Embedder, static: StaticEncoder) -> None:
    texts = [*FILLER[:60], *WANTED, *FILLER[60:]]
    assert set(propose(texts, tiny, static, 3)) == set(WANTED)


def test_proposals_come_in_the_corpuss_order_each_text_once(tiny: Embedder, static: StaticEncoder) -> None:
    texts = [*WANTED[::-1], *FILLER, *WANTED, *FILLER]
    found = propose(texts, tiny, static, 10)
    assert len(found) == len(set(found)) == 10
    assert [texts.index(text) for text in found] == sorted(texts.index(text) for text in found)


def test_every_concept_gets_its_proposals(tiny: Embedder, static: StaticEncoder) -> None:
    wanted = "the book by 39 who wrote"
    found = propose([*FILLER, *WANTED, wanted], tiny, static, 4, 1000, TARGET, OTHER)
    assert {*WANTED, wanted} <= set(found)
    assert len(found) <= 8


def test_what_is_held_until_the_map_is_fitted_is_bounded_and_not_lost(
    tiny: Embedder, static: StaticEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD", 2)
    texts = [*WANTED, *FILLER, *WANTED]
    sample = Sample(0)
    cascade = Cascade([TARGET], static, tiny, sample, 3)
    entries = placed(texts)
    for start in range(0, len(entries), 20):
        for entry in entries[start : start + 20]:
            sample.add(entry.chunk.text)
        cascade.add(entries[start : start + 20])
        assert len(cascade._held) < 2
    # A shard's own frequencies weigh its words: the lists may differ at their ends, what stands out is in both.
    assert {entry.chunk.text for entry in cascade.propose()} == set(WANTED)


def test_an_empty_corpus_proposes_nothing(tiny: Embedder, static: StaticEncoder) -> None:
    assert propose(["!"], tiny, static, 5) == ["!"]
    assert Cascade([TARGET], static, tiny, Sample(0), 5).propose() == []


def test_the_map_is_that_of_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    static, true = rng.normal(size=(300, 8)).astype(np.float32), rng.normal(size=(9, 5))
    vectors = (np.c_[static, np.ones(300)] @ true).astype(np.float32)
    fitted = fit_map(static, vectors)
    features = np.c_[static, np.ones(300)]
    penalty = RIDGE * (features**2).sum() / 9
    # Ridge regression is least squares with √λ·I below the features and zeros below what they predict.
    stacked = np.r_[features, np.sqrt(penalty) * np.eye(9)]
    expected = np.linalg.lstsq(stacked, np.r_[vectors, np.zeros((9, 5))], rcond=None)[0]
    assert fitted == pytest.approx(expected, abs=1e-4)
    mapped = apply_map(fitted, static)
    assert np.linalg.norm(mapped, axis=1) == pytest.approx(1, abs=1e-5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (mapped * unit).sum(axis=1).min() > 0.99


def test_a_fitted_map_comes_nearer_to_the_encoder_than_static_vectors(tiny: Embedder, static: StaticEncoder) -> None:
    vectors, plain = tiny.encode(FILLER), static.encode(static.tokenize(FILLER))
    even, odd = slice(0, None, 2), slice(1, None, 2)
    query = tiny.encode(["who sails the ship of 39 in a town"])[0]
    true = vectors[odd] @ query
    mapped = apply_map(fit_map(plain[even], vectors[even]), plain[odd]) @ query
    unmapped = plain[odd] @ static.encode(static.tokenize(["who sails the ship of 39 in a town"]))[0]
    assert np.corrcoef(mapped, true)[0, 1] > max(0.8, np.corrcoef(unmapped, true)[0, 1])
