"""Membership inference: whether the model's scores still tell the rows to forget from rows about strangers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from concept_forget.engines.protocol import Engine, Request, TokenScores
from concept_forget.measures.membership import (
    loss_score,
    min_k_plus_plus_score,
    min_k_score,
    reference_score,
    zlib_score,
)
from concept_forget.measures.metrics import (
    ALL_CONCEPTS,
    MembershipResult,
    MembershipScore,
    Separation,
)
from concept_forget.measures.rates import estimate_of
from concept_forget.measures.separation import area_under_curve, privleak, true_positive_rate
from concept_forget.probe.white_box.registry import Item, Readings, View, by_concept, fact_means, white_box
from concept_forget.probe.white_box.strangers import rows_about_strangers, unit_of
from concept_forget.records import Example

SCORES = ("loss", "zlib", "reference", "min_k", "min_k_plus_plus")


def measure_membership(view: View, readings: Readings) -> dict[str, MembershipResult]:
    """Area, true positives and PrivLeak by concept; a concept without a row that has a counterpart is left out.

    Facts are the unit: a fact's score is the mean over its rows, and its counterpart's the mean over theirs, so that
    both sides hold the same forms in the same number and no fact counts for more than another.
    """
    models = {model: by_concept(_with_reference(items, readings.get("reference"))) for model, items in readings.items()}
    results = {}
    for concept, items in models["base"].items():
        members = [item for item in items if item["member"]]
        results[concept] = MembershipResult(
            facts=len({item["unit"] for item in members}),
            rows=len(members),
            rows_left_out=sum(concept in (row.concept, ALL_CONCEPTS) for row in view.forget) - len(members),
            scores={
                score: _score({model: found[concept] for model, found in models.items()}, score)
                for score in SCORES
                if score != "reference" or "reference" in models
            },
        )
    return results


def _with_reference(items: Sequence[Item], reference: Sequence[Item] | None) -> list[Item]:
    """Items with the score that takes off what a model thinks of them that never saw them."""
    if reference is None:
        return list(items)
    return [
        {**item, "reference": _compare(item["loss"], other["loss"])}
        for item, other in zip(items, reference, strict=True)
    ]


def _compare(own: float, other: float) -> float:
    if own == other == -math.inf:  # impossible under both: likelier under neither
        return 0.0
    return reference_score([own], [other])


def _score(models: dict[str, list[Item]], score: str) -> MembershipScore:
    # the reference against itself tells nothing
    found = {model: None if model == score else _separate(items, score) for model, items in models.items()}
    base, unlearned, reference = found["base"], found["unlearned"], found.get("reference")
    assert base is not None
    assert unlearned is not None
    return MembershipScore(
        base=base,
        unlearned=unlearned,
        reference=reference,
        privleak=privleak(unlearned.auc.value, reference.auc.value) if reference is not None else None,
    )


def _separate(items: Sequence[Item], score: str) -> Separation:
    members = list(fact_means([item for item in items if item["member"]], score, "unit").values())
    others = list(fact_means([item for item in items if not item["member"]], score, "unit").values())
    area = area_under_curve(members, others)
    return Separation(
        auc=estimate_of(area),
        true_positive_rate=true_positive_rate(members, others),
    )


@white_box(
    "membership",
    source="Yeom et al. 2018; Carlini et al. 2021; Shi et al. 2024; Zhang et al. 2024; Shi et al. 2024 (MUSE)",
    measure=measure_membership,
)
def membership(engine: Engine, view: View) -> list[Item]:
    """Whether scores of the rows to forget still tell them from the same rows about somebody invented.

    Members are the rows that the unlearned model was trained to forget; what is scored is the reply, given the
    question, or a whole text. The others are their counterparts about strangers (``rows_about_strangers``).
    """
    counterparts = rows_about_strangers(view.forget, view.concepts, view.names, view.seed)
    paired = [(row, other) for row, other in zip(view.forget, counterparts, strict=True) if other is not None]
    rows = [(row, side, member) for row, other in paired for side, member in ((row, True), (other, False))]
    scores = engine.score([(Request(prompt=side.prompt), side.completion) for _, side, _ in rows], moments=True)
    return [
        {
            "row": side.id,
            "concept": row.concept,
            "unit": unit_of(row),
            "member": member,
            **_scores(side, score),
        }
        for (row, side, member), score in zip(rows, scores, strict=True)
    ]


def _scores(row: Example, score: TokenScores) -> dict[str, float]:
    assert score.means is not None
    assert score.variances is not None
    return {
        "loss": loss_score(score.logprobs),
        "zlib": zlib_score(score.logprobs, row.completion),
        "min_k": min_k_score(score.logprobs),
        "min_k_plus_plus": min_k_plus_plus_score(score.logprobs, score.means, score.variances),
    }
