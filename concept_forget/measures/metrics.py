"""The shape of ``metrics.json``: every number that a run comes to, and what each one means."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Part):
    """A number with its two-sided 95 % interval; facts of this run are the unit, not seeds or worlds."""

    value: float
    low: float
    high: float


class Rate(_Part):
    """Mean over facts of the mean over a fact's attempts, in [0, 1], with its two-sided 95 % interval."""

    rate: float
    low: float
    high: float
    n: int = Field(description="Facts.")
    attempts: int


class Floor(_Part):
    """The rate that a model has which never learned the concept, and where it comes from."""

    kind: Literal["reference", "strangers"]
    rate: float
    low: float
    high: float
    n: int


class ByModel(_Part):
    """One plain number per model."""

    base: float | None
    unlearned: float | None
    reference: float | None = None


class Replacement(_Part):
    """How often the answer is given that was to take the old one's place."""

    base: Rate
    unlearned: Rate
    reference: Rate | None


class TierResult(_Part):
    """One attack on one tier of facts."""

    base: Rate
    unlearned: Rate
    reference: Rate | None
    floor: Floor
    residual: Estimate | None = Field(
        description="(unlearned - floor) / (base - floor); null where base is not clearly above the floor."
    )
    worst_form: ByModel = Field(description="Mean over facts of the worst attempt on each.")
    replacement: Replacement | None = Field(
        None, description="Of the facts whose answer was to be replaced; null where there are none."
    )


class AttackResult(_Part):
    """One attack, tier by tier."""

    family: str
    tiers: dict[str, TierResult]


class ConceptResult(_Part):
    """One concept, or all of them together."""

    attacks: dict[str, AttackResult]
    worst_attack: str | None
    residual: Estimate | None = Field(description="Of the worst attack on the tiers that the verdict rests on.")


class Worst(_Part):
    """The neighbour that lost most."""

    subject: str
    value: float = Field(description="Unlearned over base.")


class CollateralResult(_Part):
    """Questions about entities that no training row names."""

    base: Rate
    unlearned: Rate
    reference: Rate | None
    kept: Estimate | None = Field(description="Unlearned over base; null where base knows nothing.")
    worst: Worst | None


class Cost(_Part):
    """What each stage took; a ratio under 1 is cheaper than retraining."""

    seconds: dict[str, float]
    flops: dict[str, float]
    peak_memory_bytes: dict[str, int]
    ratio_to_retrain: float | None


class VerdictResult(_Part):
    """The answer, and why."""

    outcome: Literal["passed", "failed", "inconclusive"]
    reasons: list[str]
    facts_needed: int | None = Field(description="Facts per attack that would decide it, where it is inconclusive.")


class Measurements(_Part):
    """What the probe measured; the report adds the cost."""

    concepts: dict[str, ConceptResult]
    collateral: dict[str, CollateralResult]
    fluency: ByModel = Field(description="Perplexity of the replies to forget questions under the base model.")
    verdict: VerdictResult


class RoundResult(_Part):
    """What one round of several left, on facts and forms that no other round asks."""

    number: int
    outcome: Literal["passed", "failed", "inconclusive"]
    worst_attack: str | None
    residual: Estimate | None = Field(description="Of the worst attack on the tiers that the verdict rests on.")
    before: Estimate | None = Field(
        description="The same, of the model from which the round began, asked the same: its own worst attack. Null in "
        "the first round, which began from base."
    )
    attacks: dict[str, dict[str, Estimate | None]] = Field(description="Residual by attack and tier.")
    kept: dict[str, Estimate | None] = Field(description="What is kept of base's rate on neighbours, by distance.")
    forget_rows: int = Field(description="Rows that the round trained to forget.")
    added_rows: int = Field(description="Of these, rows that are among them since something leaked.")


class Metrics(Measurements):
    """The whole of ``metrics.json``."""

    schema_version: Literal[1] = 1
    cost: Cost
    rounds: list[RoundResult] | None = Field(
        None, description="This round and those before it; absent where there is one alone."
    )

    def as_json(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        return self.model_dump(mode="json", exclude={"rounds"} if self.rounds is None else None)


ALL_CONCEPTS = "all concepts"
"""Key in ``concepts`` for all of them together, present where there is more than one."""
