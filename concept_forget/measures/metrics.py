"""The shape of ``metrics.json``: every number that a run comes to, and what each one means."""

from __future__ import annotations

from typing import Literal

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


class Separation(_Part):
    """How well a score tells texts that were to be forgotten from texts that nobody was trained on."""

    auc: Estimate = Field(description="Area under the ROC curve; 0.5: not at all.")
    true_positive_rate: float = Field(description="At 1 % false positives.")


class MembershipScore(_Part):
    """One score of membership, model by model; null where it is of a model against itself, or there is no model."""

    base: Separation
    unlearned: Separation
    reference: Separation | None
    privleak: float | None = Field(description="Of unlearned against reference, in per cent.")


class MembershipResult(_Part):
    """Membership inference on the rows to forget, each beside the same row about somebody invented."""

    facts: int = Field(description="Facts, and texts that state several; as many stand on the other side.")
    rows: int
    rows_left_out: int = Field(description="Rows in which there was nothing to put somebody invented in place of.")
    scores: dict[str, MembershipScore]


class LensLayer(_Part):
    """What a layer knows of the answer's first token; layer 0 is the embeddings, the last one what the model says."""

    probability: float = Field(description="Mean over facts.")
    rank: float = Field(description="Median over facts; 0 at the top.")
    first: Estimate = Field(description="Share of facts at which it is at the top: the greedy match.")


class LensModel(_Part):
    """One model, layer by layer."""

    layers: list[LensLayer]
    best_layer: int = Field(description="Where the mean probability is highest, the lowest of several.")


class LensResult(_Part):
    """The logit lens on the direct questions of one tier."""

    facts: int
    base: LensModel
    unlearned: LensModel
    reference: LensModel | None


class MemoryScore(_Part):
    """One score in [0, 1] on the direct questions; mean over facts."""

    facts: int
    base: Estimate
    unlearned: Estimate
    reference: Estimate | None


class MemoryResult(_Part):
    """Scores of memory on the direct questions of one tier."""

    scores: dict[str, MemoryScore]
    ngram_entropy: ByModel = Field(description="Mean over replies, in bits.")
    forget_quality: float | None = Field(description="p-value of unlearned against reference; null without one.")


class Utility(_Part):
    """What is left of the models: the harmonic mean of scores on the questions about neighbours."""

    value: ByModel
    parts: dict[str, ByModel]


class ConceptWhiteBox(_Part):
    """What is read from the models about one concept, or all of them together; scores that nobody asked for are null.

    ``lens`` and ``memory`` are by tier.
    """

    membership: MembershipResult | None = None
    lens: dict[str, LensResult] | None = None
    memory: dict[str, MemoryResult] | None = None


class WhiteBox(_Part):
    """Scores that no verdict rests on."""

    concepts: dict[str, ConceptWhiteBox]
    utility: Utility | None = Field(None, description="Null where nobody asked, or a score is missing.")


class Measurements(_Part):
    """What the probe measured; the report adds the cost."""

    concepts: dict[str, ConceptResult]
    collateral: dict[str, CollateralResult]
    fluency: ByModel = Field(description="Perplexity of the replies to forget questions under the base model.")
    verdict: VerdictResult
    white_box: WhiteBox | None = Field(None, description="Null where no white-box score was asked for.")


class Metrics(Measurements):
    """The whole of ``metrics.json``."""

    schema_version: Literal[1] = 1
    cost: Cost


ALL_CONCEPTS = "all concepts"
"""Key in ``concepts`` for all of them together, present where there is more than one."""
