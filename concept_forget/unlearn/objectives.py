"""The losses: what pushes answers out of a model, and what holds the rest in place.

Each is a pure function of a view that holds answer positions only, and declares what it needs and over what it is a
mean. That is all that the rest of the program knows about it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from concept_forget.training.references import Distribution
from concept_forget.training.scores import Answers

Need = Literal["logprobs", "logits", "reference.logprobs", "reference.logits"]
Unit = Literal["rows", "tokens"]


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """What the frozen reference says on the same positions.

    ``logprobs`` (tokens,) where an objective needs ``reference.logprobs``; ``distribution`` over the vocabulary where
    it needs ``reference.logits``.
    """

    answers: Answers
    logprobs: Tensor
    distribution: Distribution | None = None

    @property
    def total(self) -> Tensor:
        """Log-probability of each row's answer: (rows,)."""
        return self.answers.sum_by_row(self.logprobs)


@dataclass(frozen=True, slots=True)
class AnswerView:
    """What an objective sees: the answer tokens of forget rows, or of retain rows, and nothing else.

    ``logprobs`` (tokens,) of the answers' own tokens; ``logits`` (tokens, vocabulary) and ``reference`` only where the
    objective needs them.
    """

    answers: Answers
    logprobs: Tensor
    logits: Tensor | None = None
    reference: ReferenceView | None = None

    @property
    def total(self) -> Tensor:
        """Log-probability of each row's answer: (rows,)."""
        return self.answers.sum_by_row(self.logprobs)


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


@objective(
    "grad_ascent",
    needs=("logprobs",),
    mean_over="tokens",
    source="Jang et al. 2023, eq. 1; Maini et al. 2024 (TOFU), §4",
)
def grad_ascent(view: AnswerView) -> Tensor:
    """Gradient ascent: training turned round. Without bound: what it pushes, it goes on pushing.

    L = mean_t log π(y_t | x, y_<t)

    Args:
        view: Log-probabilities of answer tokens, (tokens,).
    """
    return view.logprobs.mean()


@objective("npo", needs=("logprobs", "reference.logprobs"), mean_over="rows", source="Zhang et al. 2024, eq. 3")
def npo(view: AnswerView, beta: float) -> Tensor:
    """Negative preference optimisation: push answers below the reference, gently once they are there.

    L = -(2/β) · mean_i log σ(-β · (log π(y_i|x_i) - log π_ref(y_i|x_i)))

    Gradient ascent is the limit β → 0; the sigmoid is what keeps it from running away.

    Args:
        view: Answer log-probabilities, summed per row, of the model and of the frozen reference, each (rows,).
        beta: Inverse temperature, > 0.
    """
    assert view.reference is not None
    margin = view.total - view.reference.total  # (rows,)
    return -(2 / beta) * F.logsigmoid(-beta * margin).mean()


@retain_term("nll", needs=("logprobs",), mean_over="tokens", source="Liu et al. 2022, eq. 3 (gradient difference)")
def nll(view: AnswerView) -> Tensor:
    """Negative log-likelihood: go on training on what has to stay.

    L = -mean_t log π(y_t | x, y_<t)

    Args:
        view: Log-probabilities of answer tokens, (tokens,).
    """
    return -view.logprobs.mean()


@retain_term("kl", needs=("logits", "reference.logits"), mean_over="tokens", source="Maini et al. 2024 (TOFU), §4")
def kl(view: AnswerView) -> Tensor:
    """Stay with the reference: its whole distribution, not only the token that was right.

    L = mean_t KL(π_ref(· | x, y_<t) ‖ π(· | x, y_<t)), in nats per answer token

    In this direction the reference weighs the tokens: whatever it held likely has to stay likely, and the gradient on
    the logits is π - π_ref, bounded however far the model has gone. The other direction would let the model drop
    tokens that the reference held likely, which is the damage that this term is there to prevent.

    Args:
        view: Logits of the model, (tokens, vocabulary), and the distributions of the reference.
    """
    assert view.logits is not None
    assert view.reference is not None
    assert view.reference.distribution is not None
    return view.reference.distribution.kl_to(view.logits).mean()
