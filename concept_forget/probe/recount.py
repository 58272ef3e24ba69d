"""From attempts and grades to all numbers, without a model: what the probe itself does, and whoever checks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from concept_forget.config import Config
from concept_forget.measures.metrics import ByModel, Measurements
from concept_forget.probe.agreeing import compare_graders
from concept_forget.probe.comparing import SignificanceSettings
from concept_forget.probe.doses import measure_doses
from concept_forget.probe.grading import graders_of, is_left, leak
from concept_forget.probe.measuring import measure
from concept_forget.probe.partial import add_partial
from concept_forget.probe.repeated import add_repeated
from concept_forget.probe.searching import Try
from concept_forget.records import Attempt, Grade


def leaks_of(attempts: Sequence[Attempt], grades: Sequence[Grade], config: Config) -> list[float]:
    """What each attempt gave away, in [0, 1]."""
    names = graders_of(attempts, config.probe.grader)
    return [leak(grade, name) for grade, name in zip(grades, names, strict=True)]


def count_attempts(
    attempts: Sequence[Attempt],
    grades: Sequence[Grade],
    replaced: Sequence[Grade | None],
    tries: Sequence[Try],
    by_grader: Mapping[str, Sequence[Grade | None]],
    *,
    families: Mapping[str, str],
    fluency: ByModel,
    config: Config,
) -> Measurements:
    """Everything that attempts and their grades say; what is read from within models is not among it.

    Args:
        attempts: Of all models.
        grades: One for each.
        replaced: What each reply says of the answer that was to take the old one's place; None where there is none.
        tries: What searches tried.
        by_grader: Grader → what it itself says of each attempt, the deciding one first.
        families: Attack → family, in the order in which results stand.
        fluency: Perplexities, as measured.
        config: The whole config.
    """
    leaks = leaks_of(attempts, grades, config)
    measurements = measure(
        attempts,
        leaks,
        attack_families=families,
        gate_tiers=config.gate_tiers,
        threshold=config.probe.threshold,
        fluency=fluency,
        replaced=[float(grade.leaked) if grade else None for grade in replaced],
        tested=SignificanceSettings(config.probe.margin, config.seed),
    )
    measurements = add_repeated(measurements, attempts, leaks, tries, config.probe.plain_grader)
    measurements = add_partial(measurements, attempts, grades, config.gate_tiers, config.probe.grader)
    doses = measure_doses(attempts, leaks) if config.probe.dose_response else None
    asked = {attempt.model for attempt in attempts}
    roles = [role for role in ("base", "unlearned", "reference") if role in asked]
    graders = compare_graders(attempts, by_grader, roles) if len(by_grader) > 1 else None
    return measurements.model_copy(update={"dose_response": doses, "graders": graders})


def told_by_graders(
    attempts: Sequence[Attempt],
    grades: Sequence[Grade],
    beside: Sequence[Mapping[str, Grade]],
    config: Config,
) -> dict[str, list[Grade | None]]:
    """What each grader itself said of each attempt, out of what was written of them.

    Args:
        attempts: Of all models.
        grades: Those that count, one for each.
        beside: For each attempt, what the graders said that decide nothing.
        config: The whole config.
    """
    decides = config.probe.grader
    own = [
        grade if name == decides and not is_left(grade, decides) else None
        for grade, name in zip(grades, graders_of(attempts, decides), strict=True)
    ]
    return {decides: own, **{name: [said.get(name) for said in beside] for name in config.probe.graders[1:]}}
