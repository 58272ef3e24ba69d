"""Losses on the hidden states of one layer."""

from __future__ import annotations

from torch import Tensor

from concept_forget.training.scores import at_least_float32
from concept_forget.unlearn.objectives.registry import AnswerView, given, objective, retain_term


@objective("rmu", needs=("hidden",), mean_over="tokens", source="Li et al. 2024 (WMDP), §4.1")
def rmu(view: AnswerView, coefficient: float) -> Tensor:
    """Representation misdirection: turn the states under an answer towards a random direction, all the same one.

    L = mean_t (1/d) · ‖h_t - c·u‖²

    u has uniformly random direction, not only the positive orthant's.

    Args:
        view: Hidden states (tokens, d) and the unit vector u (d,).
        coefficient: c, the length to which states are steered, > 0.
    """
    return _squared_distance(given(view.hidden), coefficient * given(view.direction))


@objective(
    "adaptive_rmu",
    needs=("hidden", "reference.hidden"),
    mean_over="tokens",
    source="Dang et al. 2025 (Adaptive RMU), eq. 11",
)
def adaptive_rmu(view: AnswerView, coefficient: float) -> Tensor:
    """Representation misdirection with a length of its own for every token, so that it suits any layer.

    L = mean_t (1/d) · ‖h_t - β·‖h_ref,t‖·u‖²

    Args:
        view: Hidden states (tokens, d), those of the reference, and the unit vector u (d,).
        coefficient: β, in lengths of the reference's state, > 0.
    """
    assert view.reference is not None
    length = at_least_float32(given(view.reference.hidden)).norm(dim=-1, keepdim=True)  # (tokens, 1)
    return _squared_distance(given(view.hidden), coefficient * length * given(view.direction))


@retain_term(
    "hidden", needs=("hidden", "reference.hidden"), mean_over="tokens", source="Li et al. 2024 (WMDP), §4.1 (retain)"
)
def hidden(view: AnswerView) -> Tensor:
    """Stay with the reference's hidden states.

    L = mean_t (1/d) · ‖h_t - h_ref,t‖²

    Args:
        view: Hidden states (tokens, d) and those of the reference.
    """
    assert view.reference is not None
    return _squared_distance(given(view.hidden), given(view.reference.hidden))


def _squared_distance(states: Tensor, goals: Tensor) -> Tensor:
    return (at_least_float32(states) - goals).square().mean(-1).mean()
