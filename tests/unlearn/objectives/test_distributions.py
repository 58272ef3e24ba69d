from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from concept_forget.training.distributions import Distribution
from concept_forget.unlearn.objectives.distributions import ceu, elm, jensen_shannon, kl, max_entropy, undial


def test_kl_is_that_of_the_reference_to_the_model_per_token(check: Any) -> None:
    def closed(c: Any, _: Any) -> float:
        p, q = np.exp(c.logp(c.reference)), np.exp(c.logp(c.logits))
        return float((p * np.log(p / q)).sum(1).mean())

    check(kl, closed)


def test_kl_to_itself_is_nothing(case: Any) -> None:
    same = dataclasses.replace(case, logits=case.reference)
    assert float(kl(same.seen())) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("strength", [0.3, 10.0])
def test_undial_is_the_cross_entropy_to_the_reference_with_the_answer_lowered(check: Any, strength: float) -> None:
    def closed(c: Any, _: Any) -> float:
        target = c.reference.copy()
        for token, answer in enumerate(c.targets):
            target[token, answer] -= strength
        return float(-(np.exp(c.logp(target)) * c.logp(c.logits)).sum(1).mean())

    check(undial, closed, strength=strength)


def test_ceu_hands_the_answers_share_to_the_others_as_they_stand(check: Any) -> None:
    def closed(c: Any, fixed: Any) -> float:
        total = 0.0
        for token, answer in enumerate(c.targets):
            others = [v for v in range(7) if v != answer]
            weights = np.exp(fixed.logits[token, others])
            total -= float((weights / weights.sum() * c.logp(c.logits)[token, others]).sum())
        return total / len(c.targets)

    check(ceu, closed)


def test_the_gradient_of_ceu_falls_with_the_answers_probability(case: Any) -> None:
    """On the answer's own logit it is that probability."""
    leaves = case.leaves()
    gradient = torch.autograd.grad(ceu(case.view(leaves)), leaves["logits"])[0]
    assert gradient.numpy()[np.arange(8), case.targets] * 8 == pytest.approx(np.exp(case.own(case.logits)), abs=1e-12)


def test_max_entropy_is_the_divergence_from_the_uniform(check: Any) -> None:
    def closed(c: Any, _: Any) -> float:
        p = np.exp(c.logp(c.logits))
        return float((p * np.log(p / (1 / 7))).sum(1).mean())

    check(max_entropy, closed)


def test_max_entropy_is_least_where_all_tokens_are_alike(case: Any) -> None:
    flat = dataclasses.replace(case, logits=np.full((8, 7), 3.0))
    assert float(max_entropy(flat.seen())) == pytest.approx(0, abs=1e-12)


def test_jensen_shannon_is_the_divergence_from_certainty(check: Any) -> None:
    def closed(c: Any, _: Any) -> float:
        total = 0.0
        for token, answer in enumerate(c.other_targets):
            p, one = np.exp(c.logp(c.other_logits)[token]), np.eye(7)[answer]
            middle = (p + one) / 2
            total += float((p * np.log(p / middle)).sum() / 2 + np.log(1 / middle[answer]) / 2)
        return total / len(c.other_targets)

    check(jensen_shannon, closed)


def test_jensen_shannon_is_bounded(case: Any) -> None:
    logits = case.other_logits.copy()
    logits[np.arange(6), case.other_targets] -= 80
    hopeless = dataclasses.replace(case, other_logits=logits)
    assert float(jensen_shannon(hopeless.seen())) == pytest.approx(math.log(2), abs=1e-12)


def test_elm_moves_to_the_contrast_that_it_is_given(check: Any) -> None:
    def closed(c: Any, _: Any) -> float:
        p, q = np.exp(c.logp(c.reference)), np.exp(c.logp(c.logits))
        return float((p * np.log(p / q)).sum(1).mean())

    check(elm, closed)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_undial_on_a_stored_top_is_the_cross_entropy_between_the_coarsened_pair(case: Any, k: int) -> None:
    """Whether the answer stands in the top or in the bucket."""
    view = case.seen()
    assert view.reference is not None
    assert view.reference.distribution is not None
    coarse = view.reference.distribution.coarsen(k)
    found = undial(dataclasses.replace(view, reference=dataclasses.replace(view.reference, distribution=coarse)), 2.0)
    expected, inside = 0.0, 0
    for token, answer in enumerate(case.targets):
        top = np.argsort(-case.reference[token])[:k]
        rest = [v for v in range(7) if v not in top]
        inside += answer in top
        lowered = case.reference[token].copy()
        lowered[answer] -= 2.0
        p, q = np.exp(lowered - np.log(np.exp(lowered).sum())), np.exp(case.logp(case.logits)[token])
        expected -= sum(p[v] * np.log(q[v]) for v in top) + p[rest].sum() * np.log(q[rest].sum())
    assert 0 < inside < 8 or k == 6
    assert float(found.detach()) == pytest.approx(expected / 8, abs=1e-9)


def test_steering_is_the_product_of_powers() -> None:
    base, away, toward = (
        torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in range(3)
    )
    p, a, t = (np.exp(x.numpy()) / np.exp(x.numpy()).sum(1, keepdims=True) for x in (base, away, toward))
    expected = p * (t / a) ** 1.7
    expected /= expected.sum(1, keepdims=True)
    whole = [Distribution(x.log_softmax(-1)) for x in (base, away, toward)]
    assert whole[0].steer(whole[1], whole[2], 1.7).logprobs.exp().numpy() == pytest.approx(expected, abs=1e-12)
