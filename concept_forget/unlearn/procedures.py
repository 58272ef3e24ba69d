"""Procedures: a change to the weights themselves, before or after plain training on one kind of rows.

Each change is a pure function of matrices by name; what is trained, and on what, is declared with it. Only the
matrices of the model's layers are changed: embeddings, norms and the output layer stay as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Matrices = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class WeightView:
    """What a change of weights may look at: matrices by name, each of the shape of the weight it belongs to.

    ``weights`` as they are; ``before``, as they were before training, where the change comes after it;
    ``forget_gradients`` and ``retain_gradients`` of the mean negative log-likelihood of all rows of that kind, where
    the change needs them. ``spread`` is the standard deviation of the model's initial weights, ``generator`` the
    source of what is drawn.
    """

    weights: Mapping[str, Tensor]
    generator: torch.Generator
    spread: float
    before: Mapping[str, Tensor] | None = None
    forget_gradients: Mapping[str, Tensor] | None = None
    retain_gradients: Mapping[str, Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Procedure:
    """A registered procedure: its change of weights, when that comes, and what is trained."""

    name: str
    function: Callable[..., Matrices]
    trains_on: Literal["retain", "forget", "nothing"]
    changes: Literal["before", "after", "never"]
    needs_gradients: bool
    source: str

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings it takes beside the view, by their names in the config."""
        return tuple(inspect.signature(self.function).parameters)[1:]


PROCEDURES: dict[str, Procedure] = {}


def procedure(
    name: str,
    *,
    trains_on: Literal["retain", "forget", "nothing"],
    changes: Literal["before", "after", "never"],
    source: str,
    needs_gradients: bool = False,
) -> Callable[[Callable[..., Matrices]], Callable[..., Matrices]]:
    """Register a procedure."""

    def add(function: Callable[..., Matrices]) -> Callable[..., Matrices]:
        PROCEDURES[name] = Procedure(name, function, trains_on, changes, needs_gradients, source)
        return function

    return add


@procedure("finetune_retain", trains_on="retain", changes="never", source="Warnecke et al. 2023; Golatkar et al. 2020")
def finetune_retain(view: WeightView) -> Matrices:
    """Go on training on what has to stay, and count on the rest being forgotten on the way.

    θ = argmin mean_t -log π(y_t | x, y_<t) over the retain rows, from the target's weights
    """
    return {}


@procedure("task_vector", trains_on="forget", changes="after", source="Ilharco et al. 2023, §3")
def task_vector(view: WeightView, scale: float) -> Matrices:
    """Train on what has to go, and take what that changed away from the target.

    θ = θ₀ - α · (θ_forget - θ₀)

    Args:
        view: Weights after training on the forget rows, and before.
        scale: α, > 0.
    """
    assert view.before is not None
    return {name: before - scale * (view.weights[name] - before) for name, before in view.before.items()}


@procedure(
    "reinit",
    trains_on="retain",
    changes="before",
    needs_gradients=True,
    source="NeurIPS 2023 machine unlearning challenge (Triantafillou et al. 2024, §5)",
)
def reinit(view: WeightView, share: float) -> Matrices:
    """Draw those weights anew on which both kinds of rows agree, then train on what has to stay.

    θ_j ~ N(0, σ²) where |g_forget,j - g_retain,j| is smallest, then as finetune_retain

    A weight that both kinds of rows pull alike serves both: what it held is had again from the retain rows alone. The
    differences are compared over all matrices together.

    Args:
        view: Weights, and the gradients of the mean negative log-likelihood of forget and of retain rows.
        share: Share of the weights that are drawn anew.
    """
    forget, retain = view.forget_gradients, view.retain_gradients
    assert forget is not None
    assert retain is not None
    differences = {name: (forget[name] - retain[name]).abs() for name in view.weights}
    changed = {}
    for name, chosen in _smallest(differences, share).items():
        weight = view.weights[name]
        drawn = torch.randn(weight.shape, generator=view.generator, dtype=torch.float32).to(weight) * view.spread
        changed[name] = torch.where(chosen, drawn, weight)
    return changed


@procedure("prune", trains_on="retain", changes="before", source="Jia et al. 2023, §4 (magnitude pruning)")
def prune(view: WeightView, share: float) -> Matrices:
    """Set the smallest weights to zero, then train on what has to stay; from zero they may grow again.

    θ_j = 0 where |θ_j| is smallest, then as finetune_retain

    Args:
        view: Weights; their sizes are compared over all matrices together.
        share: Share of the weights that are set to zero.
    """
    sizes = {name: weight.abs() for name, weight in view.weights.items()}
    return {name: view.weights[name].masked_fill(chosen, 0.0) for name, chosen in _smallest(sizes, share).items()}


@procedure("noise", trains_on="retain", changes="before", source="Golatkar et al. 2020, §5 (isotropic noise)")
def noise(view: WeightView, scale: float) -> Matrices:
    """Shake every weight, then train on what has to stay.

    θ_j += s · std(θ of the matrix) · N(0, 1), then as finetune_retain

    Args:
        view: Weights.
        scale: s, in standard deviations of each matrix's own weights.
    """
    return {
        name: weight
        + scale * weight.std() * torch.randn(weight.shape, generator=view.generator, dtype=torch.float32).to(weight)
        for name, weight in view.weights.items()
    }


@procedure("in_context", trains_on="nothing", changes="never", source="Thaker et al. 2024 (guardrail baselines), §3")
def in_context(view: WeightView) -> Matrices:
    """Tell the model before every conversation not to know the concepts: a baseline that removes nothing.

    θ = θ₀, and an instruction before every first message
    """
    return {}


def _smallest(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Where the smallest share of all scores stands: booleans in the matrices' shapes.

    Of equal scores at the border those that come first are taken, so that the share is exact.
    """
    everything = torch.cat([score.flatten() for score in scores.values()])
    count = round(share * len(everything))
    chosen = torch.zeros(len(everything), dtype=torch.bool, device=everything.device)
    chosen[everything.argsort(stable=True)[:count]] = True
    pieces = chosen.split([score.numel() for score in scores.values()])
    return {name: piece.view_as(score) for (name, score), piece in zip(scores.items(), pieces, strict=True)}
