from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from concept_forget.unlearn.objectives.likelihoods import grad_ascent, idk, nll, random_labels, satimp, tnpo, wga
from concept_forget.unlearn.objectives.preferences import npo


def test_gradient_ascent_is_the_mean_log_probability_and_likelihood_its_opposite(check: Any) -> None:
    check(grad_ascent, lambda c, _: c.own(c.logits).mean())
    check(nll, lambda c, _: -c.own(c.logits).mean())


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_weighted_ascent_counts_a_token_by_its_probability(check: Any, alpha: float) -> None:
    def closed(c: Any, fixed: Any) -> float:
        return float((np.exp(fixed.own(fixed.logits)) ** alpha * c.own(c.logits)).mean())

    check(wga, closed, alpha=alpha)


@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0])
def test_npo_by_tokens_is_its_formula(check: Any, beta: float) -> None:
    def closed(c: Any, _: Any) -> float:
        ratio = np.exp(c.own(c.logits) - c.own(c.reference))
        tells = np.array(
            [1, 1, 0, 1, 1, 1, 1, 0]
        )  # rows of 3, 1 and 4 tokens: the last ends a reply, an only one does not
        return float((2 / beta * np.log(1 + ratio**beta) * tells).mean())

    check(tnpo, closed, beta=beta)


def test_on_answers_of_a_single_token_it_is_npo(case: Any) -> None:
    alone = dataclasses.replace(case, row=[0, 1, 2], **{
        name: getattr(case, name)[:3] for name in ("logits", "reference", "hidden", "reference_hidden", "targets")
    })  # fmt: skip
    view = alone.seen()
    assert float(tnpo(view, 0.7)) == pytest.approx(float(npo(view, 0.7)), abs=1e-12)


@pytest.mark.parametrize(("beta1", "beta2"), [(5.0, 1.0), (0.0, 0.0), (0.3, 2.5)])
def test_satimp_counts_a_token_by_saturation_and_importance(check: Any, beta1: float, beta2: float) -> None:
    def closed(c: Any, fixed: Any) -> float:
        p = np.exp(fixed.own(fixed.logits))
        return float((p**beta1 * (1 - p) ** beta2 * c.own(c.logits)).mean())

    check(satimp, closed, beta1=beta1, beta2=beta2)


@pytest.mark.parametrize("term", [idk, random_labels])
def test_plain_training_on_other_answers_is_their_likelihood(check: Any, term: Any) -> None:
    check(term, lambda c, _: -c.other_own(c.other_logits).mean())
