from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from concept_forget.embedding import find_encoder
from concept_forget.mine.static import (
    SMOOTHING,
    StaticEncoder,
    distill,
    find_static,
    frequency_weights,
    reduce_dimensions,
)
from concept_forget.sentence_encoder import SentenceEncoder

TEXTS = ["Mira wrote a book.", "who wrote the book", "The ship is called Tern, the town Dunholm.", "ship", ""]


@pytest.fixture(scope="module")
def source(tiny_encoder: Path) -> SentenceEncoder:
    return SentenceEncoder(tiny_encoder, device="cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def static(tiny_encoder: Path, cache: Path) -> StaticEncoder:
    return find_static(find_encoder(str(tiny_encoder)), cache)


def test_components_keep_what_varies_and_turn_nothing_around() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(200, 2)) * (5, 2) + 7
    turned = np.linalg.qr(rng.normal(size=(10, 10)))[0][:2]
    vectors = (plane @ turned).astype(np.float32)
    reduced = reduce_dimensions(vectors, 2)
    centred = vectors - vectors.mean(axis=0)
    # Two components of a plane lose nothing: all inner products stay, and the variances fall.
    assert reduced @ reduced.T == pytest.approx(centred @ centred.T, abs=1e-3)
    singular = np.linalg.svd(centred, compute_uv=False)
    assert np.linalg.norm(reduced, axis=0) == pytest.approx(singular[:2], rel=1e-4)
    assert reduce_dimensions(vectors[:, :1], 2).shape == (200, 1)
    assert reduce_dimensions(vectors[::-1].copy(), 2)[::-1] == pytest.approx(reduced, abs=1e-3)


def test_a_token_weighs_less_the_more_frequent_it_is_by_zipfs_law() -> None:
    weights = frequency_weights(3)
    total = 1 + 1 / 2 + 1 / 3
    assert weights == pytest.approx([SMOOTHING / (SMOOTHING + 1 / rank / total) for rank in (1, 2, 3)], rel=1e-5)
    assert frequency_weights(30_000)[-1] > 0.9


def test_a_token_has_the_reduced_and_weighted_vector_that_the_encoder_gives_it_alone(source: SentenceEncoder) -> None:
    tokenizer = source.model.tokenizer
    table = distill(source).embedding.weight.detach().numpy()
    special = set(tokenizer.all_special_ids)
    # Word pieces cannot be typed alone; all the other tokens can.
    typed = {n: word for word, n in tokenizer.get_vocab().items() if n not in special and not word.startswith("##")}
    rest = [n for n in range(len(tokenizer)) if n not in special]
    assert not table[sorted(special)].any()
    assert table.shape == (len(tokenizer), 32)
    weights = frequency_weights(len(rest))
    plain = table[rest] / weights[:, None]  # all components are kept: turned, and less the mean
    places = [rest.index(n) for n in typed]
    vectors = source.encode(list(typed.values()))
    for one, other in zip(places[:20], places[20:40], strict=True):
        there = np.linalg.norm(plain[one] - plain[other])
        here = np.linalg.norm(vectors[places.index(one)] - vectors[places.index(other)])
        assert there == pytest.approx(here, abs=1e-4)


def test_a_text_is_the_normalised_sum_of_its_tokens(source: SentenceEncoder, static: StaticEncoder) -> None:
    table = distill(source).embedding.weight.detach().numpy()
    tokens = static.tokenize(TEXTS)
    vectors = static.encode(tokens)
    assert tokens[1] == source.model.tokenizer(TEXTS[1], add_special_tokens=False)["input_ids"]
    for ids, vector in zip(tokens[:-1], vectors[:-1], strict=True):
        assert vector == pytest.approx(table[ids].sum(axis=0) / np.linalg.norm(table[ids].sum(axis=0)), abs=1e-5)
    assert tokens[-1] == []
    assert not vectors[-1].any()
    assert static.encode(tokens[::-1])[::-1] == pytest.approx(vectors, abs=1e-6)
    assert static.encode([]).shape == (0, 32)
    assert static.vocabulary_size == len(table)


def test_no_more_is_read_than_the_encoder_reads(source: SentenceEncoder, static: StaticEncoder) -> None:
    (tokens,) = static.tokenize(["ship " * 500])
    (whole,) = source.model.tokenizer(["ship " * 500], truncation=True, max_length=source.token_limit)["input_ids"]
    assert len(tokens) == len(whole) - 2 == source.token_limit - 2


def test_what_was_distilled_once_is_read_again(
    static: StaticEncoder, tiny_encoder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = static.encode(static.tokenize(TEXTS))
    monkeypatch.setattr("concept_forget.mine.static.distill", lambda source: pytest.fail("distilled again"))
    again = find_static(find_encoder(str(tiny_encoder)), cache)
    assert again.encode(again.tokenize(TEXTS)).tobytes() == first.tobytes()
    assert [folder.parent.name for folder in cache.rglob("model.safetensors")] == [
        folder.name for folder in (cache / "static").iterdir()
    ]


def test_a_distillation_that_is_cut_short_leaves_nothing(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concept_forget.mine.static.distill", lambda source: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        find_static(find_encoder(str(tiny_encoder)), tmp_path)
    assert list((tmp_path / "static").iterdir()) == []
