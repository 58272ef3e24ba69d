from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from concept_forget.unlearn.objectives.preferences import dpo, npo, simnpo


def softplus(x: Any) -> Any:
    return np.log(1 + np.exp(x))  # -log σ(-x)


@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0])
def test_npo_is_its_formula(check: Any, beta: float) -> None:
    check(
        npo,
        lambda c, _: 2 / beta * softplus(beta * (c.totals(c.logits) - c.totals(c.reference))).mean(),
        beta=beta,
    )


@pytest.mark.parametrize(("beta", "gamma"), [(2.5, 0.0), (0.1, 1.5)])
def test_simnpo_is_its_formula(check: Any, beta: float, gamma: float) -> None:
    lengths = np.array([3, 1, 4])
    check(
        simnpo,
        lambda c, _: 2 / beta * softplus(beta * c.totals(c.logits) / lengths + gamma).mean(),
        beta=beta,
        gamma=gamma,
    )


@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_dpo_is_its_formula(check: Any, beta: float) -> None:
    def closed(c: Any, _: Any) -> float:
        rejected = c.totals(c.logits) - c.totals(c.reference)
        chosen = c.other_totals(c.other_logits) - c.other_totals(c.other_reference)
        return float(2 / beta * softplus(-beta * (chosen - rejected)).mean())

    check(dpo, closed, beta=beta)


def test_dpo_with_an_alternative_that_stays_is_npo(case: Any) -> None:
    still = dataclasses.replace(case, other_logits=case.other_reference)
    view = still.seen()
    assert float(dpo(view, 0.7)) == pytest.approx(float(npo(view, 0.7)), abs=1e-12)


def test_npo_tends_to_gradient_ascent_as_beta_falls(case: Any) -> None:
    leaves = case.leaves()
    gradient = torch.autograd.grad(npo(case.view(leaves), 1e-6), leaves["logits"])[0]
    ascent = torch.autograd.grad(case.view(leaves).total.mean(), leaves["logits"])[0]
    assert gradient == pytest.approx(ascent, abs=1e-5)


def test_npo_lets_go_of_answers_that_are_far_below_the_reference(case: Any) -> None:
    logits = case.reference.copy()
    logits[np.arange(8), case.targets] -= 40
    leaves = dataclasses.replace(case, logits=logits).leaves()
    gradient = torch.autograd.grad(npo(case.view(leaves), 0.5), leaves["logits"])[0]
    assert gradient.abs().max() < 1e-6


def test_a_row_without_answer_tokens_leaves_simnpo_a_number(case: Any) -> None:
    """No such row comes as far as a view; if one did, its mean would have nothing to divide by."""
    view = case.seen()
    answers = dataclasses.replace(view.answers, rows=4)
    assert torch.isfinite(simnpo(dataclasses.replace(view, answers=answers), 2.5, 0.0))
