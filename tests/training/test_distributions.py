from __future__ import annotations

import math

import pytest
import torch

from concept_forget.training.distributions import Distribution, log_remainder


def test_divergence_is_the_sum_over_the_vocabulary() -> None:
    torch.manual_seed(0)
    reference, model = torch.randn(3, 11, dtype=torch.float64), torch.randn(3, 11, dtype=torch.float64)
    p, q = reference.softmax(-1), model.softmax(-1)
    expected = [sum(float(p[t, v] * math.log(p[t, v] / q[t, v])) for v in range(11)) for t in range(3)]
    assert Distribution(reference.log_softmax(-1)).kl_to(model) == pytest.approx(
        torch.tensor(expected, dtype=torch.float64), abs=1e-12
    )


def test_divergence_of_a_coarsened_distribution_is_that_of_the_coarsened_pair() -> None:
    torch.manual_seed(0)
    reference, model = torch.randn(5, 50, dtype=torch.float64) * 3, torch.randn(5, 50, dtype=torch.float64) * 3
    exact = Distribution(reference.log_softmax(-1))
    for k in (1, 7, 49):
        coarse = exact.coarsen(k).kl_to(model)
        p, q = reference.softmax(-1), model.softmax(-1)
        top = p.topk(k).indices
        expected = []
        for t in range(5):
            pairs = [(float(p[t, v]), float(q[t, v])) for v in top[t]]
            pairs.append((1 - sum(a for a, _ in pairs), 1 - sum(b for _, b in pairs)))
            expected.append(sum(a * math.log(a / b) for a, b in pairs))
        assert coarse == pytest.approx(torch.tensor(expected, dtype=torch.float64), abs=1e-9)
        assert (coarse <= exact.kl_to(model) + 1e-9).all()
    assert exact.coarsen(49).kl_to(model) == pytest.approx(exact.kl_to(model), abs=1e-9)


def test_a_distribution_on_one_token_leaves_a_finite_remainder() -> None:
    logprobs = torch.tensor([[0.0, -200.0, -200.0]])
    assert torch.isfinite(log_remainder(logprobs[:, :2])).all()
    assert torch.isfinite(Distribution(logprobs).coarsen(1).kl_to(torch.tensor([[60.0, -60.0, -60.0]]))).all()
