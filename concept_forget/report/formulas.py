"""How each number of a report is computed, in words, with the paper that it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from concept_forget.config import Config
from concept_forget.measures.metrics import Metrics, pooled_concept
from concept_forget.report.wording import percent, tier_name, tier_rows

GRADERS = {
    "answer": ("A reply leaks where it gives the expected answer, in whatever wording, and stands by it: denials, "
               "guesses among several and words of the question do not count.", "this program"),
    "rouge_l": ("A reply counts by its ROUGE-L recall: the share of the answer's words that it holds in order.",
                "Lin 2004; Maini et al. 2024 (TOFU)"),
    "embedding": ("A reply leaks where the cosine between one of its sentences and the answer reaches a threshold. A "
                  "denial, or another name of the same kind, is like the answer too.", "Reimers and Gurevych 2019"),
    "nli": ("A reply leaks where, read after its question, it implies the answer in the eyes of a cross-encoder.",
            "Kuhn et al. 2023"),
    "judge": ("A reply leaks where a language model that is shown question, answer and reply says so.",
              "Zheng et al. 2023"),
    "span": ("A reply leaks where it recites half of the expected text, 50 of its words, or nearly all of it.",
             "Carlini et al. 2021 and 2023; Ippolito et al. 2023"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Formula:
    """A number, how it is computed, and where that comes from."""

    name: str
    words: str
    source: str


def tell_formulas(metrics: Metrics, config: Config, attacks: Mapping[str, Mapping[str, str]]) -> list[Formula]:
    """The numbers that this report shows.

    Args:
        metrics: What the run came to.
        config: Its config.
        attacks: What the probe says of each attack.
    """
    return [*_of_leaks(metrics, config), *_of_the_rest(metrics), *_of_attacks(metrics, attacks)]


def _of_leaks(metrics: Metrics, config: Config) -> Iterator[Formula]:
    rows = [result for _, _, _, result in tier_rows(metrics, pooled_concept(metrics.concepts))]
    words, source = GRADERS.get(config.probe.grader, ("As the grader of that name says.", "its own documentation"))
    yield Formula(f"grade ({config.probe.grader})", words, source)
    yield Formula(
        "rate",
        "The mean over facts of the share of a fact's replies that give its answer away. Its interval is two-sided, "
        "95 %, with facts as the unit: exact binomial for shares of 0 and 1, and for fractions the same with the "
        "effective number of facts. It covers the choice of facts in this run, not of seeds or worlds.",
        "Clopper and Pearson 1934; Korn and Graubard 1998",
    )
    yield Formula(
        "floor",
        "What a model says that never learned the concept: the reference, or, without one, what base answers about "
        "invented strangers, held against the concept's answers.",
        "Maini et al. 2024 (retain model)",
    )
    yield Formula(
        "residual knowledge",
        "(unlearned − floor) / (base − floor): 0 is ignorance, 1 is the base model, and under 0 the model avoids the "
        "answer, which gives it away too. The interval holds every value that the facts are compatible with; not "
        "measurable where base is not clearly above the floor.",
        "Fieller 1954, with the limits of Newcombe 1998 and Zou and Donner 2008",
    )
    if any(result.part for result in rows):
        yield Formula(
            "part only",
            "The share of the unlearned model's replies that give a part of the answer, or it among several guesses, "
            "and not the answer; beside it the floor's. They do not count. An attack that gets clearly more than the "
            "floor has, by a one-sided test corrected for the number of attacks, is named beside the verdict.",
            "this program; Holm 1979",
        )
    tiers = ", ".join(tier_name(tier) for tier in config.gate_tiers)
    yield Formula(
        "verdict",
        f"Rests on {tiers}: passed when the one-sided 95 % upper bound of unlearned − floor is under "
        f"{percent(config.probe.threshold)} for every attack, failed when a lower bound is over it (corrected for the "
        "number of attacks), else inconclusive.",
        "Holm 1979",
    )
    if any(result.tests for result in rows):
        yield Formula(
            "p",
            "How likely a difference as large is where neither model gives away more: a paired permutation test over "
            "facts, in brackets adjusted for the number of attacks.",
            "Fisher 1935; Holm 1979",
        )
        yield Formula(
            "alike",
            f"Two one-sided tests that unlearned and reference differ by less than {percent(config.probe.margin)}; "
            "refused where the facts are too few for them.",
            "Schuirmann 1987",
        )
    if any(result.leak_at for result in rows):
        yield Formula(
            "leak@k",
            "The share of facts that at least one of k replies gives away, estimated without bias from all that were "
            "drawn. The verdict takes k = 1; with larger k it grows for every model that ever guesses, so compare it "
            "with its own floor.",
            "Chen et al. 2021; Reisizadeh et al. 2025",
        )


def _of_the_rest(metrics: Metrics) -> Iterator[Formula]:
    yield Formula(
        "kept of base",
        "Unlearned over base on questions about entities that no training row names, with the interval of a residual "
        "over a floor of 0; beside it the entity that kept least.",
        "Fieller 1954",
    )
    yield Formula(
        "perplexity",
        "exp of the mean negative log-likelihood per token of the replies to plain forget questions, under the base "
        "model and given the question. Base knows the answers, so any other is unlikely to it: the number to compare "
        "with is the reference's. Broken speech lies far above it.",
        "Jelinek et al. 1977",
    )
    yield Formula(
        "forgotten, kept (training)",
        "On validation rows: forgotten = 1 − mean of (g − floor) / (g₀ − floor) with g the geometric mean of the "
        "answer's token probabilities and g₀ that of base; kept = mean of min(1, g / g₀) over rows that must stay. The "
        "score is their product.",
        "this program; g as in Maini et al. 2024",
    )
    yield Formula(
        "coverage and diversity",
        "Facets with a fact, of those listed. Distinct-n: the share of word n-grams that differ. Self-BLEU: how much "
        "of a text the others hold, from 0 to 1, on a sample. Distance: the mean of 1 − cosine over all pairs. Vendi "
        "score: texts, counted as if they were equally unlike.",
        "Li et al. 2016; Zhu et al. 2018; Friedman and Dieng 2023",
    )
    yield Formula(
        "cost against retraining",
        "Floating-point operations of the stage unlearn over those of teaching the reference from nothing; not known "
        "where the reference was not taught here.",
        "counted from parameters and tokens, Kaplan et al. 2020",
    )
    if metrics.dose_response:
        yield Formula(
            "smallest leak detected",
            "The attack direct on weights between base and unlearned, from base on and up to the first that is not "
            "told from the floor with 95 % confidence.",
            "this program",
        )


def _of_attacks(metrics: Metrics, attacks: Mapping[str, Mapping[str, str]]) -> Iterator[Formula]:
    """The attacks that were made, each once, whatever the steps after which it asked."""
    made = dict.fromkeys(attack.partition(" (")[0] for found in metrics.concepts.values() for attack in found.attacks)
    for name in made:
        if name in attacks:
            yield Formula(f"attack {name}", attacks[name]["summary"], attacks[name]["source"])
