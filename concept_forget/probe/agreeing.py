"""How the graders stand to each other: what each finds, and how far two agree beyond chance."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

from concept_forget.measures.agreement import cohen_kappa, count_pairs
from concept_forget.measures.metrics import Agreement, GradersResult, Rate
from concept_forget.measures.rates import estimate_of, rate_of
from concept_forget.probe.asking import COLLATERAL
from concept_forget.probe.grading import graders_of
from concept_forget.records import Attempt, Grade

ALL = "all"
"""In place of a model: the replies of all of them."""


def compare_graders(
    attempts: Sequence[Attempt], found: Mapping[str, Sequence[Grade | None]], models: Sequence[str]
) -> GradersResult:
    """Compare graders on the replies to questions about the concepts that all of them graded.

    Args:
        attempts: The attempts.
        found: Grader → what it itself says of each attempt, the deciding one first; None where it says nothing.
        models: The models whose replies are compared.
    """
    names = list(found)
    shared: dict[str, dict[str, list[dict[str, bool]]]] = {model: defaultdict(list) for model in (ALL, *models)}
    for place, attempt in enumerate(attempts):
        grades = {name: every[place] for name, every in found.items()}
        if attempt.attack == COLLATERAL or attempt.model not in models:
            continue
        said = {name: grade.leaked for name, grade in grades.items() if grade is not None}
        if len(said) == len(names):
            for model in (ALL, attempt.model):
                shared[model][attempt.fact].append(said)
    return GradersResult(
        decides=names[0],
        ungraded={name: _ungraded(attempts, name, every) for name, every in found.items()},
        rates={
            name: {model: _rate(name, list(shared[model].values())) for model in models if shared[model]}
            for name in names
        },
        agreement=[
            _agreement(first, second, model, list(facts.values()))
            for first, second in itertools.combinations(names, 2)
            for model, facts in shared.items()
            if facts
        ],
    )


def _ungraded(attempts: Sequence[Attempt], name: str, found: Sequence[Grade | None]) -> int:
    """Attempts that are the grader's, and that it could not grade."""
    return sum(own == name and grade is None for own, grade in zip(graders_of(attempts, name), found, strict=True))


def _rate(name: str, facts: Sequence[Sequence[Mapping[str, bool]]]) -> Rate:
    leaked = [[said[name] for said in replies] for replies in facts]
    return rate_of([sum(fact) / len(fact) for fact in leaked], sum(map(len, leaked)))


def _agreement(first: str, second: str, model: str, facts: Sequence[Sequence[Mapping[str, bool]]]) -> Agreement:
    pairs = [[(said[first], said[second]) for said in replies] for replies in facts]
    counts, kappa = count_pairs(pairs), cohen_kappa(pairs)
    return Agreement(
        first=first,
        second=second,
        model=model,
        facts=len(pairs),
        both=counts.both,
        first_only=counts.first_only,
        second_only=counts.second_only,
        neither=counts.neither,
        kappa=estimate_of(kappa) if kappa else None,
    )
