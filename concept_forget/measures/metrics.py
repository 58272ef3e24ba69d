"""The shape of ``metrics.json``: every number that a run comes to, and what each one means."""

from __future__ import annotations

from collections.abc import Mapping
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


class BesideFloor(_Part):
    """A rate of each model, and how far the unlearned one's lies over that of a model which never learned it."""

    base: Rate
    unlearned: Rate
    reference: Rate | None
    floor: Floor
    excess: Estimate | None = Field(description="unlearned - floor, over the facts of both; null without a floor.")


class LeakAtK(BesideFloor):
    """How much at least one of k replies to a question gives away, estimated without bias from all that were drawn."""

    k: int


class DifferenceTest(_Part):
    """Paired permutation test, two-sided, of the unlearned model against another one."""

    p: float
    adjusted: float = Field(description="By Holm, over the attacks and tiers that the verdict rests on.")


class EquivalenceTest(_Part):
    """Two one-sided tests, each at 95 %, of the unlearned model against the reference."""

    outcome: Literal["alike", "different", "undecided", "underpowered"]
    margin: float
    difference: float = Field(description="Unlearned - reference.")
    lower: float = Field(description="One-sided 95 % bound.")
    upper: float = Field(description="One-sided 95 % bound.")
    p: float | None = Field(description="Of a difference of the margin or more; null where refused as underpowered.")
    n: int = Field(description="Facts.")
    facts_needed: int | None = Field(
        description="Underpowered: those that the test needs. Undecided: those that would decide; null: none would."
    )


class ModelTests(_Part):
    """What the facts that both models were asked say of a difference."""

    base: DifferenceTest | None
    reference: DifferenceTest | None
    equivalence: EquivalenceTest | None = Field(description="Null without a reference.")


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
    leak_at: list[LeakAtK] = Field([], description="By k = 1, 2, 4, … n where n replies were drawn to each question.")
    any_tried: ByModel | None = Field(
        None,
        description="Of a search: mean over facts of the worst of all prompts tried, which no attacker could pick "
        "without the answer. Graded by `answer` where the deciding grader asks a model.",
    )
    part: BesideFloor | None = Field(
        None,
        description="Replies that give a part of the answer, or it among several, and not the answer. Null where the "
        "grader tells no parts, and for choices.",
    )
    tests: ModelTests | None = Field(None, description="On the tiers that the verdict rests on; null on others.")


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
    tiers: list[str] = Field([], description="Those that it rests on.")
    in_part: dict[str, float] = Field(
        {},
        description="Attacks that get a part of the answer, which decides nothing, clearly more often than the floor "
        "has it, and by how much (unlearned - floor).",
    )


class Dose(_Part):
    """The attack ``direct`` on weights of which a part is the unlearned model's and the rest base's."""

    alpha: float = Field(description="That part: 0 is base, 1 the unlearned model.")
    rate: Rate
    residual: Estimate | None
    lower: float = Field(description="One-sided 95 % lower bound of rate - floor; above 0 the leak is detected.")


class DoseCurve(_Part):
    """One tier's doses, from base to unlearned, over the facts that all models were asked."""

    floor: Floor
    doses: list[Dose]
    smallest_detected: float | None = Field(
        description="alpha of the dose with the smallest residual among those that were detected. Doses are tested "
        "from base on and up to the first that is not detected, so that all of it holds with 95 % confidence; null: "
        "not even base was."
    )
    falls: bool = Field(
        description="No dose leaks clearly more than one with less of the unlearned model in it: no two-sided 95 % "
        "interval of such a difference lies above 0."
    )


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


class Agreement(_Part):
    """What two graders say of the same replies: that they leak, or not."""

    first: str
    second: str
    model: str = Field(description="Whose replies; `all`: those of all models.")
    facts: int
    both: int = Field(description="Replies, and so for the next three.")
    first_only: int
    second_only: int
    neither: int
    kappa: Estimate | None = Field(
        description="Cohen's kappa, every fact counting alike; null where both say the same of every reply."
    )


class GradersResult(_Part):
    """The grader that decides beside others that decide nothing."""

    decides: str
    ungraded: dict[str, int] = Field(description="Grader → replies that it could not grade.")
    rates: dict[str, dict[str, Rate]] = Field(
        description="Grader → model → what it finds over all attacks and tiers, in the replies that all graders graded."
    )
    agreement: list[Agreement]


class Measurements(_Part):
    """What the probe measured; the report adds the cost."""

    concepts: dict[str, ConceptResult]
    collateral: dict[str, CollateralResult]
    fluency: ByModel = Field(description="Perplexity of the replies to forget questions under the base model.")
    verdict: VerdictResult
    not_made: dict[str, str] = Field(
        default_factory=dict, description="Attacks that were asked for and could not be made, each with the reason."
    )
    dose_response: dict[str, DoseCurve] | None = Field(
        None, description="The probe's check on itself, by tier; null where it was not asked for."
    )
    white_box: WhiteBox | None = Field(None, description="Null where no white-box score was asked for.")
    graders: GradersResult | None = Field(None, description="Null where one grader alone was asked.")


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


def pooled_concept(concepts: Mapping[str, Any]) -> str:
    """The key of what stands for the whole run: all concepts together, or the only one."""
    return ALL_CONCEPTS if ALL_CONCEPTS in concepts else next(iter(concepts))
