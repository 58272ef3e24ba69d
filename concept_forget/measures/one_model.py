"""The shape of ``metrics.json`` where a single model was probed: its rates, and a reference's beside them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from concept_forget.measures.metrics import Estimate, GradersResult, Rate, VerdictResult


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OneTier(_Part):
    """One attack on one tier of facts."""

    model: Rate
    reference: Rate | None
    above: Estimate | None = Field(description="model - reference, over the facts that both were asked.")
    worst_form: float = Field(description="Mean over facts of the model's worst attempt on each.")


class OneAttack(_Part):
    """One attack, tier by tier."""

    family: str
    tiers: dict[str, OneTier]


class OneCollateral(_Part):
    """Questions about entities that no training row names."""

    model: Rate
    reference: Rate | None


class OneMeasurements(_Part):
    """What the attempts of one model say, beside those of a reference."""

    concepts: dict[str, dict[str, OneAttack]] = Field(description="Concept → attack, with all of them together.")
    collateral: dict[str, OneCollateral]
    verdict: VerdictResult | None


class OneModel(OneMeasurements):
    """The whole of ``metrics.json``.

    There is no residual: it takes the rates of the model before unlearning, and that one was not asked. Without a
    reference there is no floor either, and so no verdict.
    """

    schema_version: Literal[1] = 1
    model: str
    reference: str | None
    not_known: list[str] = Field(description="What a single model does not show, and what would.")
    attacks_without_questions: list[str]
    graders: GradersResult | None = Field(None, description="Null where one grader alone was asked.")
