"""Losses made of the likelihood of whole answers, row by row."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from concept_forget.unlearn.objectives.registry import AnswerView, objective


@objective("npo", needs=("logprobs", "reference.logprobs"), mean_over="rows", source="Zhang et al. 2024, eq. 3")
def npo(view: AnswerView, beta: float) -> Tensor:
    """Negative preference optimisation: push answers below the reference, gently once they are there.

    L = -(2/β) · mean_i log σ(-β · (log π(y_i|x_i) - log π_ref(y_i|x_i)))

    Gradient ascent is the limit β → 0; the sigmoid is what keeps it from running away.

    Args:
        view: Answer log-probabilities, summed per row, of the model and of the frozen reference, each (rows,).
        beta: Inverse temperature, > 0.
    """
    return -(2 / beta) * F.logsigmoid(-beta * view.margin).mean()


@objective("simnpo", needs=("logprobs",), mean_over="rows", source="Fan et al. 2024 (SimNPO), eq. 4")
def simnpo(view: AnswerView, beta: float, gamma: float) -> Tensor:
    """Negative preference optimisation without a reference: by the answer's log-probability per token.

    L = -(2/β) · mean_i log σ(-(β/|y_i|) · log π(y_i|x_i) - γ)

    The length takes the reference's place: a long answer, unlikely by its length alone, is not let go too early.

    Args:
        view: Answer log-probabilities, averaged per row, (rows,).
        beta: Inverse temperature, > 0.
        gamma: Margin, ≥ 0: how far below certainty an answer is pushed with full force.
    """
    mean = view.total / view.answers.lengths  # (rows,)
    return -(2 / beta) * F.logsigmoid(-beta * mean - gamma).mean()


@objective(
    "dpo",
    needs=("logprobs", "reference.logprobs", "alternatives"),
    mean_over="rows",
    source="Rafailov et al. 2023, eq. 7, scaled as npo; Mekala et al. 2025 (AltPO) with `alternative: own`",
)
def dpo(view: AnswerView, beta: float) -> Tensor:
    """Direct preference optimisation: an alternative answer over the one to be forgotten.

    L = -(2/β) · mean_i log σ(β · ((log π(a_i|x_i) - log π_ref(a_i|x_i)) - (log π(y_i|x_i) - log π_ref(y_i|x_i))))

    With alternatives that stay where they are this is npo.

    Args:
        view: Answer log-probabilities, summed per row, of the model and of the frozen reference, each (rows,), and the
            same of the alternatives.
        beta: Inverse temperature, > 0.
    """
    return -(2 / beta) * F.logsigmoid(beta * (view.other.margin - view.margin)).mean()
