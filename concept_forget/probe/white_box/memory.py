"""Scores of memory: how much of the answers a model still holds, by its own probabilities and its greedy replies."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from concept_forget.engines.protocol import Engine, Request, Sampling, TokenScores
from concept_forget.measures.fluency import ngram_entropy
from concept_forget.measures.memory import answer_probability, exact_memorisation, extraction_strength
from concept_forget.measures.metrics import ByModel, MemoryResult, MemoryScore, Utility
from concept_forget.measures.rates import estimate_of
from concept_forget.measures.rouge import rouge_recall
from concept_forget.measures.spans import verbatim_span
from concept_forget.measures.statistics import rate_interval
from concept_forget.measures.tofu import (
    forget_quality,
    model_utility,
    option_probability,
    score_truth_ratio,
    truth_ratio,
)
from concept_forget.probe.white_box.registry import Item, Readings, View, by_concept, by_tier, fact_means, white_box
from concept_forget.probe.white_box.wrong_answers import WrongAnswers, put
from concept_forget.records import Example

SCORES = (
    "probability",
    "probability_among_options",
    "truth_ratio_closer_to_1_better",
    "truth_ratio_true_better",
    "truth_ratio_prob_mean",
    "rouge_l_recall",
    "rouge_1_recall",
    "exact_memorisation",
    "extraction_strength",
    "verbatim_span",
)
UTILITY = ("probability", "rouge_l_recall", "truth_ratio_true_better")


def measure_memory(view: View, readings: Readings) -> dict[str, dict[str, MemoryResult]]:
    """Means over facts by concept and tier, and the forget quality where there is a reference."""
    models = {model: by_concept([i for i in items if i["split"] == "probe"]) for model, items in readings.items()}
    return {
        concept: {
            tier: _measure_tier({model: by_tier(found[concept])[tier] for model, found in models.items()})
            for tier in by_tier(models["base"][concept])
        }
        for concept in models["base"]
    }


def _measure_tier(models: Readings) -> MemoryResult:
    ratios = {model: list(fact_means(items, "truth_ratio").values()) for model, items in models.items()}
    compared = "reference" in ratios and ratios["unlearned"] and ratios["reference"]
    entropies = {model: list(fact_means(items, "ngram_entropy", "row").values()) for model, items in models.items()}
    means = {model: sum(values) / len(values) if values else None for model, values in entropies.items()}
    return MemoryResult(
        scores={score: found for score in SCORES if (found := _measure_score(models, score)) is not None},
        ngram_entropy=ByModel(base=means["base"], unlearned=means["unlearned"], reference=means.get("reference")),
        forget_quality=forget_quality(ratios["unlearned"], ratios["reference"]) if compared else None,
    )


def _measure_score(models: Readings, score: str) -> MemoryScore | None:
    """The score of each model over the facts that have it, the same of every model; None where none has it."""
    facts = {model: list(fact_means(items, score).values()) for model, items in models.items()}
    if not facts["base"]:
        return None
    intervals = {model: rate_interval(values) for model, values in facts.items()}
    found = {model: estimate_of(i) for model, i in intervals.items()}
    return MemoryScore(
        facts=len(facts["base"]),
        base=found["base"],
        unlearned=found["unlearned"],
        reference=found.get("reference"),
    )


def measure_utility(readings: Readings) -> Utility | None:
    """TOFU's model utility, with near, middle and far neighbours in place of its retain set, authors and world facts.

    None where some of its parts are missing: no neighbours of any distance, or no wrong answers to compare with.
    """
    models = {model: by_tier([i for i in items if i["split"] == "collateral"]) for model, items in readings.items()}
    parts: dict[str, dict[str, float]] = {}
    for distance, score in itertools.product(models["base"], UTILITY):
        for model, tiers in models.items():
            values = list(fact_means(tiers[distance], score).values())
            if not values:
                return None
            parts.setdefault(f"{distance} {score}", {})[model] = sum(values) / len(values)
    if not parts:
        return None
    value = {model: model_utility([part[model] for part in parts.values()]) for model in models}
    return Utility(value=_by_model(value), parts={name: _by_model(part) for name, part in parts.items()})


def _by_model(values: dict[str, float]) -> ByModel:
    return ByModel(base=values["base"], unlearned=values["unlearned"], reference=values.get("reference"))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The replies to score after one question."""

    row: Example
    paraphrase: str  # the right answer in another spelling, or where it has none, as it is
    wrong: tuple[str, ...]  # wrong ones in its form

    @property
    def replies(self) -> tuple[str, ...]:
        return (self.row.completion, self.paraphrase, *self.wrong)


@white_box(
    "memory",
    source="Maini et al. 2024 (TOFU); Dorna et al. 2025 (OpenUnlearning); Tirumala et al. 2022; Carlini et al. 2021",
    measure=measure_memory,
)
def memory(engine: Engine, view: View) -> list[Item]:
    """How likely the answers to the plain questions are, beside wrong ones, and how much of them is said.

    The reply is the greedy one, whatever ``probe.temperature`` says. Neighbours are asked too, for the model utility.
    """
    wrong = WrongAnswers(view.probe, [*view.collateral, *view.retain], view.seed)
    rows = [row for row in (*view.direct, *view.collateral) if row.prompt and row.completion]
    wanted = [_Wanted(row, _paraphrase(row), wrong.of(row)) for row in rows]
    requests = [Request(prompt=row.prompt) for row in rows]
    pairs = [(request, text) for request, of in zip(requests, wanted, strict=True) for text in of.replies]
    scores = iter(engine.score(pairs))
    replies = engine.generate(requests, Sampling(max_new_tokens=view.max_new_tokens))
    return [
        _item(of, list(itertools.islice(scores, len(of.replies))), reply.text)
        for of, (reply,) in zip(wanted, replies, strict=True)
    ]


def _paraphrase(row: Example) -> str:
    return next((text for alias in row.aliases if (text := put(row, alias))), row.completion)


def _item(wanted: _Wanted, scores: Sequence[TokenScores], reply: str) -> Item:
    row, (right, paraphrase, *wrong) = wanted.row, scores
    ratio = truth_ratio(paraphrase.logprobs, _logprobs(wrong)) if wrong else None
    has_words = any(letter.isalnum() for letter in row.completion)
    recall = rouge_recall(reply, row.completion) if has_words else None
    return {
        "row": row.id,
        "split": row.split,
        "concept": row.concept,
        "tier": row.tier,
        "fact": row.fact,
        "probability": answer_probability(right.logprobs),
        "probability_among_options": option_probability(right.logprobs, _logprobs(wrong)) if wrong else None,
        "truth_ratio": ratio,
        **{
            f"truth_ratio_{how}": None if ratio is None else score_truth_ratio(ratio, how)
            for how in ("closer_to_1_better", "true_better", "prob_mean")
        },
        "rouge_l_recall": recall.rouge_l if recall else None,
        "rouge_1_recall": recall.rouge_1 if recall else None,
        "exact_memorisation": exact_memorisation(right.ranks),
        "extraction_strength": extraction_strength(right.ranks),
        "verbatim_span": verbatim_span(reply, row.completion).share if has_words else None,
        "ngram_entropy": ngram_entropy(reply),
        "reply": reply,
    }


def _logprobs(scores: Iterable[TokenScores]) -> list[tuple[float, ...]]:
    return [score.logprobs for score in scores]
