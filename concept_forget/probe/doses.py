"""The probe's check on itself: does it find less where less is left, and how little does it still find?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from concept_forget.engines.opening import open_engine
from concept_forget.errors import ModelError
from concept_forget.measures.metrics import Dose, DoseCurve
from concept_forget.measures.rates import estimate_of, floor_of, rate_of
from concept_forget.measures.statistics import difference_bounds, residual
from concept_forget.models import load_model
from concept_forget.probe.asking import STRANGERS, Planned, ask, attempts_of
from concept_forget.records import Attempt, ModelSpec, content_hash
from concept_forget.training.memory import read_shapes
from concept_forget.workspace import StageContext

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTACK = "direct"
BETWEEN = (0.25, 0.5, 0.75)
_VERSION = 1  # raise it when the same models give other weights in between


def model_name(alpha: float) -> str:
    """The name in the attempts of a model of which this part is the unlearned one's."""
    ends = {0.0: "base", 1.0: "unlearned"}
    return ends.get(alpha, f"dose {alpha:g}")


def ask_doses(context: StageContext, questions: Sequence[Planned]) -> list[Attempt]:
    """Ask the models between base and unlearned what the attack ``direct`` asks.

    Raises:
        ModelError: The two have weights of different names or shapes.
    """
    from concept_forget.engines.transformers_engine import TransformersEngine

    base, unlearned = context.models["base"], context.models["unlearned"]
    _require_alike(base, unlearned)
    rows = [row for row in questions if row.attack == ATTACK]
    identities = [TransformersEngine(spec).identity for spec in (base, unlearned)]
    attempts = []
    for alpha in BETWEEN:
        spec = ModelSpec(
            unlearned.path, unlearned.revision, unlearned.dtype, unlearned.adapter,
            content_hash("dose", _VERSION, *identities, alpha),
        )  # fmt: skip
        engine = open_engine(
            spec, cache=context.cache, costs=context.costs, batch_tokens=context.config.probe.batch_tokens,
            load=_mixing(base, unlearned, alpha),
        )  # fmt: skip
        try:
            attempts += attempts_of(model_name(alpha), rows, ask(engine, rows, context.config.probe))
        finally:
            engine.close()
    return attempts


def _require_alike(base: ModelSpec, unlearned: ModelSpec) -> None:
    if read_shapes(Path(base.path)) != read_shapes(Path(unlearned.path)):
        raise ModelError(
            f"{unlearned.path} has weights of other names or shapes than {base.path}: there is nothing between them",
            key="probe.dose_response",
            remedy="set it to false, or give as `target` the model that was unlearned",
        )


def _mixing(base: ModelSpec, unlearned: ModelSpec, alpha: float) -> Callable[[ModelSpec], PreTrainedModel]:
    return lambda spec: mix_weights(base, unlearned, alpha)


def mix_weights(base: ModelSpec, unlearned: ModelSpec, alpha: float) -> PreTrainedModel:
    """The model θ_base + α (θ_unlearned - θ_base), each with its adapter merged (Wortsman et al. 2022, WiSE-FT).

    For an adapter of LoRA that is the adapter scaled by α. One of the two at a time is on the accelerator.

    Args:
        base: The model at α = 0.
        unlearned: The model at α = 1; of the same shape.
        alpha: In [0, 1].
    """
    import torch

    weights = {name: weight.detach().to("cpu", copy=True) for name, weight in load_model(base).named_parameters()}
    model = load_model(unlearned)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            other = weights.pop(name).to(weight.device)
            weight.copy_(other.float().lerp(weight.float(), alpha))
    return model


def measure_doses(attempts: Sequence[Attempt], leaks: Sequence[float]) -> dict[str, DoseCurve]:
    """Rates and residuals by dose, for every tier of ``direct``.

    Args:
        attempts: Of base, the models in between, unlearned, and reference or strangers.
        leaks: What each attempt gave away, in [0, 1].
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for attempt, leak in zip(attempts, leaks, strict=True):
        if attempt.attack == ATTACK:
            found[attempt.tier][attempt.model][attempt.fact].append(leak)
    curves = {tier: _curve(models) for tier, models in found.items()}
    return {tier: curve for tier, curve in curves.items() if curve is not None}


def _curve(models: Mapping[str, Mapping[str, list[float]]]) -> DoseCurve | None:
    floor = "reference" if "reference" in models else STRANGERS
    alphas = [0.0, *BETWEEN, 1.0]
    asked = [models.get(name, {}) for name in (*map(model_name, alphas), floor)]
    shared = sorted(set.intersection(*map(set, asked)))
    if not shared:
        return None
    rates = {name: [fmean(models[name][fact]) for fact in shared] for name in (*map(model_name, alphas), floor)}
    doses = []
    for alpha in alphas:
        own = rates[model_name(alpha)]
        left = residual(own, rates[floor], rates["base"])
        doses.append(
            Dose(
                alpha=alpha,
                rate=rate_of(own, sum(len(models[model_name(alpha)][fact]) for fact in shared)),
                residual=estimate_of(left) if left else None,
                lower=difference_bounds(own, rates[floor]).lower,
            )
        )
    return DoseCurve(
        floor=floor_of(rates[floor], of_reference=floor == "reference"),
        doses=doses,
        smallest_detected=smallest_detected(doses),
        falls=not any(
            difference_bounds(rates[model_name(later)], rates[model_name(earlier)]).low > 0
            for earlier, later in combinations(alphas, 2)
        ),
    )


def smallest_detected(doses: Sequence[Dose]) -> float | None:
    """The dose with the smallest residual that was told from the floor; None where not even the first was.

    Doses are tested in their order, each at 95 %, and testing ends with the first that is not detected: such a fixed
    sequence errs in no more than 5 % of all cases, however many doses there are (Maurer, Hothorn and Lehmacher 1995).
    """
    detected = []
    for dose in doses:
        if dose.residual is None or dose.lower <= 0:
            break
        detected.append((dose.residual.value, -dose.alpha))
    return -min(detected)[1] if detected else None
