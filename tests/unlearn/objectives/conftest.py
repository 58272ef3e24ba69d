"""Small cases in numpy, and a check that holds an objective's value and gradient against a closed form in numpy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from concept_forget.training.distributions import Distribution
from concept_forget.training.scores import Answers
from concept_forget.unlearn.objectives import AnswerView, ReferenceView

Array = np.ndarray[Any, np.dtype[np.float64]]
LEAVES = ("logits", "other_logits", "hidden")


@dataclasses.dataclass(frozen=True)
class Case:
    """Answers of three rows to forget and their alternatives of other lengths, and all that a model says about them."""

    logits: Array  # (8, 7)
    reference: Array
    hidden: Array  # (8, 5)
    reference_hidden: Array
    direction: Array  # (5,)
    targets: list[int]
    row: list[int]
    other_logits: Array  # (6, 7)
    other_reference: Array
    other_targets: list[int]
    other_row: list[int]

    @staticmethod
    def logp(logits: Array) -> Array:
        """Log-probabilities, (tokens, vocabulary)."""
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    def own(self, logits: Array) -> Array:
        """Log-probabilities of the answers' own tokens."""
        return np.array([self.logp(logits)[t, v] for t, v in enumerate(self.targets)])

    def other_own(self, logits: Array) -> Array:
        """The same of the alternatives."""
        return np.array([self.logp(logits)[t, v] for t, v in enumerate(self.other_targets)])

    def totals(self, logits: Array) -> Array:
        """Log-probabilities of whole answers, (3,)."""
        return np.array([sum(p for p, r in zip(self.own(logits), self.row, strict=True) if r == i) for i in range(3)])

    def other_totals(self, logits: Array) -> Array:
        """The same of the alternatives."""
        own = self.other_own(logits)
        return np.array([sum(p for p, r in zip(own, self.other_row, strict=True) if r == i) for i in range(3)])

    def view(self, leaves: dict[str, torch.Tensor]) -> AnswerView:
        """What an objective sees, from tensors that may want gradients."""
        other = _view(leaves["other_logits"], torch.tensor(self.other_reference), self.other_targets, self.other_row)
        own = _view(leaves["logits"], torch.tensor(self.reference), self.targets, self.row)
        assert own.reference is not None
        return dataclasses.replace(
            own,
            reference=dataclasses.replace(own.reference, hidden=torch.tensor(self.reference_hidden)),
            hidden=leaves["hidden"],
            direction=torch.tensor(self.direction),
            alternatives=other,
        )

    def seen(self) -> AnswerView:
        """The view without gradients."""
        return self.view({name: leaf.detach() for name, leaf in self.leaves().items()})

    def leaves(self) -> dict[str, torch.Tensor]:
        """What a model gives, wanting gradients."""
        return {name: torch.tensor(getattr(self, name), requires_grad=True) for name in LEAVES}


def _view(logits: torch.Tensor, reference: torch.Tensor, targets: list[int], row: list[int]) -> AnswerView:
    answers = Answers(torch.tensor(targets), torch.tensor(row), 3)

    def own(values: torch.Tensor) -> torch.Tensor:
        return values.log_softmax(-1)[torch.arange(len(values)), answers.targets]

    whole = Distribution(reference.log_softmax(-1))
    return AnswerView(answers, own(logits), logits, ReferenceView(answers, own(reference), whole))


@pytest.fixture
def case() -> Case:
    draw = np.random.default_rng(0)
    direction = draw.normal(size=5)
    return Case(
        logits=draw.normal(size=(8, 7)) * 2,
        reference=draw.normal(size=(8, 7)) * 2,
        hidden=draw.normal(size=(8, 5)),
        reference_hidden=draw.normal(size=(8, 5)),
        direction=direction / np.linalg.norm(direction),
        targets=[3, 0, 6, 2, 2, 5, 1, 4],
        row=[0, 0, 0, 1, 2, 2, 2, 2],
        other_logits=draw.normal(size=(6, 7)) * 2,
        other_reference=draw.normal(size=(6, 7)) * 2,
        other_targets=[1, 1, 4, 0, 6, 3],
        other_row=[0, 1, 1, 1, 1, 2],
    )


Check = Callable[..., None]


@pytest.fixture
def check(case: Case) -> Check:
    """Holds a term against ``closed(case, fixed)``: ``fixed`` is the case for what no gradient goes through."""

    def hold(term: Callable[..., torch.Tensor], closed: Callable[[Case, Case], float], **arguments: float) -> None:
        leaves = case.leaves()
        value = term(case.view(leaves), **arguments)
        assert float(value.detach()) == pytest.approx(closed(case, case), abs=1e-10)
        gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        step = 1e-5
        for name, gradient in zip(leaves, gradients, strict=True):
            expected = np.zeros_like(getattr(case, name))
            for place in np.ndindex(expected.shape):
                moved = []
                for sign in (1, -1):
                    array = getattr(case, name).copy()
                    array[place] += sign * step
                    moved.append(closed(dataclasses.replace(case, **{name: array}), case))
                expected[place] = (moved[0] - moved[1]) / (2 * step)
            found = np.zeros_like(expected) if gradient is None else gradient.numpy()
            assert found == pytest.approx(expected, abs=1e-7), name

    return hold
