from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from concept_forget.measures.diversity import Diversity, Spread, self_bleu
from concept_forget.measures.words import plain_words
from concept_forget.records import named_random

PLAIN = "ship harbour lantern copper north mill winter quiet river ember stone garden".split()


def make_texts(count: int, seed: int = 0, least: int = 5, most: int = 14) -> list[str]:
    rng = named_random(seed, "texts")
    return [" ".join(rng.choices(PLAIN, k=rng.randint(least, most))) for _ in range(count)]


def unit_vectors(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, dimension)) + 0.7 * rng.standard_normal(dimension)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class TestDistinct:
    def test_it_is_the_share_of_n_grams_that_differ(self) -> None:
        texts = make_texts(60)
        diversity = Diversity(0)
        diversity.add(texts[:7])
        diversity.add(texts[7:])
        summary = diversity.summary()
        assert summary["items"] == 60
        for order in (1, 2, 3):
            grams = [g for t in texts for g in zip(*(t.split()[k:] for k in range(order)), strict=False)]
            assert summary[f"distinct_{order}"] == pytest.approx(len(set(grams)) / len(grams), abs=5e-5)

    def test_case_and_marks_do_not_make_words_differ(self) -> None:
        diversity = Diversity(0)
        diversity.add(["The mill.", "the MILL?"])
        assert diversity.summary()["distinct_1"] == 0.5

    def test_of_nothing_there_are_no_figures(self) -> None:
        assert set(Diversity(0).summary().values()) == {0, None}


def slow_self_bleu(texts: Sequence[str]) -> float:
    words = [plain_words(text) for text in texts]
    smooth = SmoothingFunction(epsilon=0.5).method1
    scores = [
        sentence_bleu([*words[:n], *words[n + 1 :]], own, smoothing_function=smooth) for n, own in enumerate(words)
    ]
    return sum(scores) / len(scores)


class TestSelfBleu:
    @pytest.mark.parametrize("seed", range(4))
    def test_it_is_the_mean_bleu_of_each_against_the_others(self, seed: int) -> None:
        texts = make_texts(25, seed)
        assert self_bleu(texts) == pytest.approx(slow_self_bleu(texts), abs=1e-9)

    def test_repeated_words_are_clipped_by_the_other_texts_alone(self) -> None:
        texts = ["ship ship ship ship mill stone", "ship mill stone river north", "ship ship river north quiet ember"]
        assert self_bleu(texts) == pytest.approx(slow_self_bleu(texts), abs=1e-9)

    def test_equal_texts_score_one_and_texts_without_a_common_word_zero(self) -> None:
        assert self_bleu(["ship mill stone river north"] * 3) == pytest.approx(1)
        assert self_bleu(["ship mill stone", "river north quiet"]) == 0
        assert self_bleu(["ship mill stone"]) is None

    def test_two_words_are_compared_as_far_as_they_go(self) -> None:
        assert self_bleu(["ship mill", "ship mill"]) == pytest.approx(1)

    def test_its_sample_hangs_on_the_texts_and_the_seed_alone(self) -> None:
        texts = make_texts(300)

        def figure(order: Sequence[str], seed: int) -> object:
            diversity = Diversity(seed, sample=20)
            diversity.add(order)
            return diversity.summary()["self_bleu"]

        assert figure(texts, 0) == figure(texts[::-1], 0)
        assert len({figure(texts, seed) for seed in range(4)}) > 1

    def test_the_sample_stands_for_the_whole(self) -> None:
        texts = make_texts(400)
        draws = []
        for seed in range(12):
            diversity = Diversity(seed, sample=40)
            diversity.add(texts)
            draws.append(float(diversity.summary()["self_bleu"] or 0))
        expected = np.mean([self_bleu(named_random(n, "draw").sample(texts, 40)) for n in range(12)])
        assert np.mean(draws) == pytest.approx(expected, abs=3 * np.std(draws) / 12**0.5 + 0.01)


class TestSpread:
    @pytest.mark.parametrize(("count", "dimension"), [(2, 16), (9, 16), (16, 16), (17, 16), (200, 16), (40, 64)])
    def test_distance_is_the_mean_over_all_pairs(self, count: int, dimension: int) -> None:
        vectors = unit_vectors(count, dimension)
        spread = Spread()
        for start in range(0, count, 5):
            spread.add(vectors[start : start + 5])
        exact = vectors.astype(np.float64)
        pairs = [1 - exact[a] @ exact[b] for a, b in itertools.combinations(range(count), 2)]
        assert spread.distance() == pytest.approx(np.mean(pairs), abs=1e-6)

    @pytest.mark.parametrize(("count", "dimension"), [(1, 16), (9, 16), (16, 16), (17, 16), (200, 16), (40, 64)])
    def test_the_vendi_score_is_that_of_the_whole_matrix_of_cosines(self, count: int, dimension: int) -> None:
        vectors = unit_vectors(count, dimension)
        spread = Spread()
        for start in range(0, count, 7):
            spread.add(vectors[start : start + 7])
        exact = vectors.astype(np.float64)
        values = np.linalg.svd(exact, compute_uv=False) ** 2 / count
        entropy = -sum(v * math.log(v) for v in values if v > 0)
        assert spread.vendi() == pytest.approx(math.exp(entropy), rel=1e-6)

    def test_orthogonal_texts_count_in_full_and_equal_ones_once(self) -> None:
        apart, alike = Spread(), Spread()
        apart.add(np.eye(8, dtype=np.float32)[:5])
        alike.add(np.repeat(np.eye(8, dtype=np.float32)[:1], 50, axis=0))
        assert apart.vendi() == pytest.approx(5)
        assert apart.distance() == pytest.approx(1)
        assert alike.vendi() == pytest.approx(1)
        assert alike.distance() == pytest.approx(0)

    def test_a_mixture_of_kinds_counts_its_kinds(self) -> None:
        spread = Spread()
        spread.add(np.repeat(np.eye(8, dtype=np.float32)[:4], 25, axis=0))
        assert spread.vendi() == pytest.approx(4)

    def test_of_nothing_there_is_neither(self) -> None:
        assert Spread().distance() is None
        assert Spread().vendi() is None
