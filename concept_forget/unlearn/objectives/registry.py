"""What an objective sees, and how it is registered."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from concept_forget.training.distributions import Distribution
from concept_forget.training.scores import Answers

Need = Literal[
    "logprobs",
    "logits",
    "hidden",
    "alternatives",
    "reference.logprobs",
    "reference.logits",
    "reference.contrast",
    "reference.hidden",
]
"""What a view can hold.

``logprobs``, ``logits`` and ``hidden`` are the model's, ``alternatives`` the same of other answers to the same
prompts. ``reference.`` stands before what the untrained model says; ``reference.contrast`` is its distribution steered
from one context to another.
"""
Unit = Literal["rows", "tokens"]


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """What the frozen reference says on the same positions.

    ``logprobs`` (tokens,) where an objective needs ``reference.logprobs``; ``distribution`` over the vocabulary where
    it needs ``reference.logits`` or ``reference.contrast``; ``hidden`` (tokens, width) where it needs
    ``reference.hidden``.
    """

    answers: Answers
    logprobs: Tensor | None
    distribution: Distribution | None = None
    hidden: Tensor | None = None

    @property
    def total(self) -> Tensor:
        """Log-probability of each row's answer: (rows,)."""
        return self.answers.sum_by_row(given(self.logprobs))


@dataclass(frozen=True, slots=True)
class AnswerView:
    """What an objective sees: the answer tokens of forget rows, or of retain rows, and nothing else.

    ``logprobs`` (tokens,) of the answers' own tokens; ``logits`` (tokens, vocabulary), ``hidden`` (tokens, width): the
    states of one layer from which the answer tokens are predicted, ``direction`` (width,): a unit vector drawn once
    per run, ``reference``, and ``alternatives``: a view of as many rows with other answers to the same prompts, row by
    row. Each only where the objective needs it; one that looks at nothing but alternatives gets a view of no rows
    around them.
    """

    answers: Answers
    logprobs: Tensor | None
    logits: Tensor | None = None
    reference: ReferenceView | None = None
    hidden: Tensor | None = None
    direction: Tensor | None = None
    alternatives: AnswerView | None = None

    @property
    def total(self) -> Tensor:
        """Log-probability of each row's answer: (rows,)."""
        return self.answers.sum_by_row(given(self.logprobs))

    @property
    def margin(self) -> Tensor:
        """How much likelier each row's answer is than under the reference, in nats: (rows,)."""
        assert self.reference is not None
        return self.total - self.reference.total

    @property
    def other(self) -> AnswerView:
        """The alternatives, where they are there."""
        assert self.alternatives is not None
        return self.alternatives

    @property
    def reference_distribution(self) -> Distribution:
        """The reference's distributions, where they are there."""
        assert self.reference is not None
        assert self.reference.distribution is not None
        return self.reference.distribution


def given(value: Tensor | None) -> Tensor:
    """A part of a view that an objective has declared, and therefore got."""
    assert value is not None
    return value


@dataclass(frozen=True, slots=True)
class Objective:
    """A registered loss: the function, what it needs, over what it is a mean, and where it comes from."""

    name: str
    function: Callable[..., Tensor]
    needs: tuple[Need, ...]
    mean_over: Unit
    source: str

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings it takes beside the view, by their names in the config."""
        return tuple(inspect.signature(self.function).parameters)[1:]

    @property
    def reads_answers(self) -> bool:
        """Whether it looks at the answers themselves, and not at alternatives alone."""
        return any(need in ("logprobs", "logits", "hidden") for need in self.needs)


FORGET_TERMS: dict[str, Objective] = {}
RETAIN_TERMS: dict[str, Objective] = {}


def objective(
    name: str, *, needs: tuple[Need, ...], mean_over: Unit, source: str
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a loss on forget rows."""
    return _register(FORGET_TERMS, name, needs, mean_over, source)


def retain_term(
    name: str, *, needs: tuple[Need, ...], mean_over: Unit, source: str
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Register a loss on retain rows."""
    return _register(RETAIN_TERMS, name, needs, mean_over, source)


def _register(
    registry: dict[str, Objective], name: str, needs: tuple[Need, ...], mean_over: Unit, source: str
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    def add(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        registry[name] = Objective(name, function, needs, mean_over, source)
        return function

    return add
