"""TOFU's figures: by hand, and against scipy and the formulas in plain probabilities."""

from __future__ import annotations

import math
import warnings
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from concept_forget.measures.tofu import (
    Aggregation,
    aggregate_truth_ratios,
    forget_quality,
    model_utility,
    option_probability,
    score_truth_ratio,
    truth_ratio,
)

LOGPROBS = st.lists(st.floats(-20, 0), min_size=1, max_size=8)
ANSWERS = st.lists(LOGPROBS, min_size=1, max_size=5)
RATIOS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30)


def log(*probabilities: float) -> list[float]:
    return [math.log(probability) for probability in probabilities]


def test_an_option_has_its_share_of_the_length_normalised_probabilities() -> None:
    # 0.4 of 0.4 + 0.2 + 0.2: the second option's two tokens have a geometric mean of 0.2
    assert option_probability(log(0.4), [log(0.1, 0.4), log(0.2)]) == pytest.approx(0.5, abs=1e-12)
    assert option_probability([-math.inf], [log(0.2)]) == 0
    assert option_probability(log(0.2), [[-math.inf]]) == 1


def test_options_too_unlikely_for_a_float_still_have_shares() -> None:
    assert option_probability([-5000.0], [[-5000.0], [-9000.0]]) == pytest.approx(0.5, abs=1e-12)


@given(LOGPROBS, ANSWERS)
def test_option_probability_agrees_with_numpy(answer: list[float], others: list[list[float]]) -> None:
    probabilities = [stats.gmean(np.exp(option)) for option in (answer, *others)]
    assert option_probability(answer, others) == pytest.approx(probabilities[0] / sum(probabilities), abs=1e-9)


def test_the_truth_ratio_is_false_over_true() -> None:
    # true: sqrt(0.8 * 0.2) = 0.4; false: sqrt(0.1 * 0.4) = 0.2
    assert truth_ratio(log(0.8, 0.2), [log(0.1), log(0.4)]) == pytest.approx(0.5, abs=1e-12)
    assert truth_ratio([-math.inf], [log(0.4)]) == math.inf
    assert truth_ratio(log(0.4), [[-math.inf], log(0.4)]) == 0
    assert truth_ratio([-2000.0], [[-1.0]]) == math.inf


@given(LOGPROBS, ANSWERS)
def test_the_truth_ratio_agrees_with_scipy(paraphrase: list[float], perturbed: list[list[float]]) -> None:
    false = stats.gmean([stats.gmean(np.exp(answer)) for answer in perturbed])
    assert truth_ratio(paraphrase, perturbed) == pytest.approx(false / stats.gmean(np.exp(paraphrase)), rel=1e-9)


def test_a_truth_ratio_counts_by_its_aggregation() -> None:
    ratios = [0.25, 1.0, 4.0]
    assert aggregate_truth_ratios(ratios, "closer_to_1_better") == pytest.approx((0.25 + 1 + 0.25) / 3, abs=1e-12)
    assert aggregate_truth_ratios(ratios, "true_better") == pytest.approx(0.75 / 3, abs=1e-12)
    assert aggregate_truth_ratios(ratios, "prob_mean") == pytest.approx((0.8 + 0.5 + 0.2) / 3, abs=1e-12)
    assert aggregate_truth_ratios(ratios, "plain") == pytest.approx(5.25 / 3, abs=1e-12)


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("closer_to_1_better", 0), ("true_better", 0), ("prob_mean", 0), ("plain", math.inf)]
)
def test_an_infinite_truth_ratio_counts_too(aggregation: Aggregation, expected: float) -> None:
    assert score_truth_ratio(math.inf, aggregation) == expected


@given(RATIOS)
def test_aggregations_agree_with_numpy(ratios: list[float]) -> None:
    array = np.array(ratios)
    expected = {
        "closer_to_1_better": np.minimum(array, 1 / array).mean(),
        "true_better": np.maximum(0, 1 - array).mean(),
        "prob_mean": (1 / (1 + array)).mean(),
        "plain": array.mean(),
    }
    for aggregation in get_args(Aggregation):
        found = aggregate_truth_ratios(ratios, aggregation)
        assert found == pytest.approx(expected[aggregation], abs=1e-9, rel=1e-9)


@given(st.floats(1e-6, 1e6))
def test_closeness_does_not_mind_which_side_is_likelier(ratio: float) -> None:
    closeness = score_truth_ratio(ratio, "closer_to_1_better")
    assert closeness == pytest.approx(score_truth_ratio(1 / ratio, "closer_to_1_better"), abs=1e-9)
    assert 0 <= closeness <= 1


def test_forget_quality_of_samples_far_apart_is_counted_by_hand() -> None:
    # of the C(6, 3) = 20 ways to deal six values, two set the samples as far apart
    assert forget_quality([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20, abs=1e-9)
    assert forget_quality([1, 2, 3], [1, 2, 3]) == pytest.approx(1, abs=1e-9)
    assert forget_quality([0.5, math.inf], [0.5, math.inf]) == pytest.approx(1, abs=1e-9)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=25), st.lists(st.floats(0, 10), min_size=1, max_size=25))
def test_forget_quality_agrees_with_scipy_and_minds_no_order(first: list[float], second: list[float]) -> None:
    quality = forget_quality(first, second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where exact counting fails, which scipy says
        expected = stats.ks_2samp(np.array(first), np.array(second)).pvalue
    assert quality == pytest.approx(expected, abs=1e-9)
    assert quality == pytest.approx(forget_quality(second[::-1], first), abs=1e-9)


def test_model_utility_is_the_harmonic_mean() -> None:
    assert model_utility([0.5, 1.0]) == pytest.approx(2 / 3, abs=1e-12)
    assert model_utility([0.9, 0.0, 0.9]) == 0
    assert model_utility([1e-320, 1.0]) == pytest.approx(0, abs=1e-9)


@given(st.lists(st.floats(1e-3, 1), min_size=1, max_size=9))
def test_model_utility_agrees_with_scipy(values: list[float]) -> None:
    assert model_utility(values) == pytest.approx(float(stats.hmean(values)), abs=1e-9)
    assert min(values) - 1e-9 <= model_utility(values) <= np.mean(values) + 1e-9


def test_what_is_empty_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one other option"):
        option_probability([-1.0], [])
    with pytest.raises(ValueError, match="at least one perturbed answer"):
        truth_ratio([-1.0], [])
    with pytest.raises(ValueError, match="at least one token"):
        truth_ratio([-1.0], [[-1.0], []])
    with pytest.raises(ValueError, match="at least one question"):
        aggregate_truth_ratios([], "plain")
    with pytest.raises(ValueError, match="of the reference model"):
        forget_quality([1.0], [])
    with pytest.raises(ValueError, match="at least one score"):
        model_utility([])


def test_what_has_no_ratio_is_refused() -> None:
    with pytest.raises(ValueError, match="every option is impossible"):
        option_probability([-math.inf], [[-math.inf]])
    with pytest.raises(ValueError, match="both impossible"):
        truth_ratio([-math.inf], [[-math.inf, -1.0]])


@pytest.mark.parametrize("value", [-0.1, math.nan])
def test_what_is_no_truth_ratio_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        aggregate_truth_ratios([1.0, value], "true_better")


def test_an_unknown_aggregation_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="closer_to_1_better, true_better, prob_mean, plain"):
        score_truth_ratio(1.0, "median")  # type: ignore[arg-type]


def test_forget_quality_refuses_nan() -> None:
    with pytest.raises(ValueError, match="unlearned model is not a number"):
        forget_quality([1.0, math.nan], [1.0])


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_model_utility_refuses_what_is_no_score(value: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        model_utility([0.5, value])
