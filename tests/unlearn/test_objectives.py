from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
import torch

from concept_forget.training.references import Distribution
from concept_forget.training.scores import Answers
from concept_forget.unlearn.objectives import (
    FORGET_TERMS,
    RETAIN_TERMS,
    AnswerView,
    ReferenceView,
    grad_ascent,
    kl,
    nll,
    npo,
)

LENGTHS = (3, 1, 4)
VOCABULARY = 7


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make_answers(lengths: tuple[int, ...] = LENGTHS) -> Answers:
    rng = random.Random(0)
    return Answers(
        targets=torch.tensor([rng.randrange(VOCABULARY) for _ in range(sum(lengths))]),
        row=torch.tensor([row for row, length in enumerate(lengths) for _ in range(length)]),
        rows=len(lengths),
    )


def view_of(logits: torch.Tensor, reference: torch.Tensor, answers: Answers) -> AnswerView:
    def own(values: torch.Tensor) -> torch.Tensor:
        return values.log_softmax(-1)[torch.arange(len(values)), answers.targets]

    return AnswerView(
        answers, own(logits), logits, ReferenceView(answers, own(reference), Distribution(reference.log_softmax(-1)))
    )


def probabilities(logits: torch.Tensor) -> list[list[float]]:
    """Softmax by hand, so that the closed forms below share nothing with the code under test."""
    rows = []
    for row in logits.tolist():
        exponentials = [math.exp(value) for value in row]
        rows.append([value / sum(exponentials) for value in exponentials])
    return rows


@pytest.fixture
def answers() -> Answers:
    return make_answers()


@pytest.fixture
def logits() -> torch.Tensor:
    return draw(sum(LENGTHS), VOCABULARY, seed=1) * 2


@pytest.fixture
def reference() -> torch.Tensor:
    return draw(sum(LENGTHS), VOCABULARY, seed=2) * 2


def own_logprobs(logits: torch.Tensor, answers: Answers) -> list[float]:
    return [math.log(row[target]) for row, target in zip(probabilities(logits), answers.targets.tolist(), strict=True)]


def row_totals(logits: torch.Tensor, answers: Answers) -> list[float]:
    totals = [0.0] * answers.rows
    for row, value in zip(answers.row.tolist(), own_logprobs(logits, answers), strict=True):
        totals[row] += value
    return totals


def test_gradient_ascent_is_the_mean_log_probability(
    logits: torch.Tensor, reference: torch.Tensor, answers: Answers
) -> None:
    expected = sum(own_logprobs(logits, answers)) / len(answers.targets)
    assert float(grad_ascent(view_of(logits, reference, answers))) == pytest.approx(expected, abs=1e-12)
    assert float(nll(view_of(logits, reference, answers))) == pytest.approx(-expected, abs=1e-12)


@pytest.mark.parametrize("beta", [0.05, 0.5, 3.0])
def test_npo_is_its_formula(logits: torch.Tensor, reference: torch.Tensor, answers: Answers, beta: float) -> None:
    pairs = zip(row_totals(logits, answers), row_totals(reference, answers), strict=True)
    terms = [math.log(1 + math.exp(beta * (model - before))) for model, before in pairs]
    expected = 2 / beta * sum(terms) / len(terms)
    assert float(npo(view_of(logits, reference, answers), beta)) == pytest.approx(expected, abs=1e-12)


def test_npo_tends_to_gradient_ascent_as_beta_falls(
    logits: torch.Tensor, reference: torch.Tensor, answers: Answers
) -> None:
    leaf = logits.clone().requires_grad_()
    view = view_of(leaf, reference, answers)
    gradient = torch.autograd.grad(npo(view, 1e-6), leaf)[0]
    ascent = torch.autograd.grad(view_of(leaf, reference, answers).total.mean(), leaf)[0]
    assert gradient == pytest.approx(ascent, abs=1e-5)


def test_npo_lets_go_of_answers_that_are_far_below_the_reference(answers: Answers, reference: torch.Tensor) -> None:
    logits = reference.clone()
    logits[torch.arange(len(logits)), answers.targets] -= 40
    leaf = logits.requires_grad_()
    gradient = torch.autograd.grad(npo(view_of(leaf, reference, answers), 0.5), leaf)[0]
    assert gradient.abs().max() < 1e-6


def test_kl_is_that_of_the_reference_to_the_model_per_token(
    logits: torch.Tensor, reference: torch.Tensor, answers: Answers
) -> None:
    per_token = [
        sum(p * math.log(p / q) for p, q in zip(before, now, strict=True))
        for before, now in zip(probabilities(reference), probabilities(logits), strict=True)
    ]
    expected = sum(per_token) / len(per_token)
    assert float(kl(view_of(logits, reference, answers))) == pytest.approx(expected, abs=1e-12)
    assert float(kl(view_of(reference, reference, answers))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "term", [grad_ascent, nll, kl, lambda view: npo(view, 0.7)], ids=["grad_ascent", "nll", "kl", "npo"]
)
def test_gradients_are_those_of_finite_differences(
    term: Callable[[AnswerView], torch.Tensor], logits: torch.Tensor, reference: torch.Tensor, answers: Answers
) -> None:
    leaf = logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: term(view_of(values, reference, answers)), (leaf,), atol=1e-7)


def test_every_term_says_what_it_needs_and_where_it_comes_from() -> None:
    assert set(FORGET_TERMS) == {"grad_ascent", "npo"}
    assert set(RETAIN_TERMS) == {"nll", "kl"}
    for term in (*FORGET_TERMS.values(), *RETAIN_TERMS.values()):
        assert term.source
        assert "L = " in (term.function.__doc__ or "")
    assert FORGET_TERMS["npo"].settings == ("beta",)
    assert FORGET_TERMS["grad_ascent"].settings == ()


def test_a_term_gets_by_with_what_it_declares(logits: torch.Tensor, reference: torch.Tensor, answers: Answers) -> None:
    full = view_of(logits, reference, answers)
    assert full.reference is not None
    for term in (*FORGET_TERMS.values(), *RETAIN_TERMS.values()):
        distribution = full.reference.distribution if "reference.logits" in term.needs else None
        asked = any(need.startswith("reference.") for need in term.needs)
        bare = AnswerView(
            answers,
            full.logprobs,
            logits if "logits" in term.needs else None,
            ReferenceView(answers, full.reference.logprobs, distribution) if asked else None,
        )
        arguments = dict.fromkeys(term.settings, 0.5)
        assert float(term.function(bare, **arguments)) == float(term.function(full, **arguments))
