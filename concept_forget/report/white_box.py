"""The table of white-box scores: every score with what it says and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from concept_forget.measures.metrics import (
    ByModel,
    ConceptWhiteBox,
    Estimate,
    LensModel,
    LensResult,
    MembershipScore,
    MemoryResult,
    Separation,
    WhiteBox,
)
from concept_forget.report.wording import TIERS, percent, tier_name
from concept_forget.text import counted

COLUMNS = ("score", "base", "unlearned", "reference", "what it says")
_NONE = "–"

_MEMBERSHIP = {
    "loss": "the mean log-probability of the tokens (Yeom et al. 2018)",
    "zlib": "their mean log-probability per byte of the compressed text (Carlini et al. 2021)",
    "reference": "how much likelier than under the reference model (Carlini et al. 2021)",
    "min_k": "the mean over the least likely fifth of the tokens (Shi et al. 2024, Min-K%)",
    "min_k_plus_plus": "the least likely fifth in deviations from what the model expects (Zhang et al. 2024, Min-K%++)",
}
_MEMORY = {
    "probability": "Of the answer, normalised by its length (Maini et al. 2024, TOFU).",
    "probability_among_options": "The answer's share of its and wrong answers' probabilities (Maini et al. 2024).",
    "truth_ratio_closer_to_1_better": "min(R, 1/R) of R = P(wrong)/P(right): 1 where they are as likely as each other "
    "(Maini et al. 2024, forget set).",
    "truth_ratio_true_better": "max(0, 1 - R): 0 where wrong answers are as likely as the right one "
    "(Maini et al. 2024, retain set).",
    "truth_ratio_prob_mean": "1/(1 + R): the right answer's share (Dorna et al. 2025, OpenUnlearning).",
    "rouge_l_recall": "Share of the answer's words in the greedy reply, in order (Lin 2004; Maini et al. 2024).",
    "rouge_1_recall": "The same in any order (Lin 2004).",
    "exact_memorisation": "Share of the answer's tokens that are the likeliest (Tirumala et al. 2022).",
    "extraction_strength": "Share of the answer that comes to its end by itself from the shortest start "
    "(Carlini et al. 2021; Dorna et al. 2025).",
    "verbatim_span": "The longest run of the answer's words in the greedy reply (Carlini et al. 2023).",
}
_ENTROPY = "Entropy of the replies' bigrams and trigrams in bits: low where they stammer (Zhang et al. 2018)."
_QUALITY = (
    "p-value of the Kolmogorov-Smirnov test on truth ratios: near 0, unlearned and reference are told apart "
    "(Maini et al. 2024)."
)
_UTILITY = "Harmonic mean of probability, ROUGE-L recall and truth ratio on neighbours (Maini et al. 2024)."
_LENS = {
    "first token at the top": "Share of answers whose first token is the likeliest at the layer where their mean "
    "probability is highest (nostalgebraist 2020, logit lens; Patil et al. 2024).",
    "probability of the first token": "Mean at that layer; the layer is in brackets, {layers} is the last one.",
    "rank of the first token": "Median at that layer, 0 at the top.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table; ``group`` is what it stands under."""

    group: str
    score: str
    base: str
    unlearned: str
    reference: str
    says: str


def white_box_rows(white_box: WhiteBox, concept: str) -> list[Row]:
    """The lines of a concept, and the model utility, which is the whole run's."""
    found = white_box.concepts.get(concept, ConceptWhiteBox())
    rows = [*_membership_rows(found), *_lens_rows(found), *_memory_rows(found)]
    if white_box.utility is not None:
        rows.append(_plain_row("neighbours", "model utility", white_box.utility.value, _UTILITY))
    return rows


def _membership_rows(found: ConceptWhiteBox) -> Iterator[Row]:
    if found.membership is None:
        return
    result = found.membership
    group = (
        f"membership: {result.facts} facts to forget against as many about somebody invented "
        f"({result.rows} rows each{f', {result.rows_left_out} left out' if result.rows_left_out else ''})"
    )
    for name, score in result.scores.items():
        label = name.replace("_", " ")
        models = (score.base, score.unlearned, score.reference)
        yield _row(
            group,
            f"{label}: AUC",
            (_interval(model.auc if model else None) for model in models),
            f"How often a fact to forget scores above the other, 0.50 for ignorance, by {_MEMBERSHIP[name]}.",
        )
        yield _row(
            group,
            f"{label}: found",
            map(_rate, models),
            "Facts to forget that are found at 1 % false alarms (Carlini et al. 2022).",
        )
        if score.privleak is not None:
            yield _privleak_row(group, label, score)


def _privleak_row(group: str, label: str, score: MembershipScore) -> Row:
    text = f"{score.privleak:+.0f}"
    says = "Per cent; under 0 too little is forgotten, over 0 the answers are avoided (Shi et al. 2024, MUSE)."
    return Row(group, f"{label}: PrivLeak", "", text, "", says)


def _lens_rows(found: ConceptWhiteBox) -> Iterator[Row]:
    for tier in _in_order(found.lens or {}):
        result: LensResult = (found.lens or {})[tier]
        models = (result.base, result.unlearned, result.reference)
        group = f"logit lens: {tier_name(tier)} ({counted(result.facts, 'fact')})"
        cells = {
            "first token at the top": [_best(model, "first") for model in models],
            "probability of the first token": [_best(model, "probability") for model in models],
            "rank of the first token": [_best(model, "rank") for model in models],
        }
        for name, texts in cells.items():
            yield _row(group, name, texts, _LENS[name].format(layers=len(result.base.layers) - 1))


def _best(model: LensModel | None, what: str) -> str:
    if model is None:
        return _NONE
    layer = model.layers[model.best_layer]
    if what == "first":
        return _interval(layer.first)
    return f"{layer.probability:.2f} (layer {model.best_layer})" if what == "probability" else f"{layer.rank:g}"


def _memory_rows(found: ConceptWhiteBox) -> Iterator[Row]:
    for tier in _in_order(found.memory or {}):
        result: MemoryResult = (found.memory or {})[tier]
        facts = max((score.facts for score in result.scores.values()), default=0)
        group = f"memory: {tier_name(tier)} ({counted(facts, 'fact')})"
        for name, score in result.scores.items():
            cells = (_interval(part) for part in (score.base, score.unlearned, score.reference))
            label = name.replace("rouge_l", "ROUGE-L").replace("rouge_1", "ROUGE-1").replace("_", " ")
            yield _row(group, label, cells, _MEMORY[name])
        yield _plain_row(group, "n-gram entropy", result.ngram_entropy, _ENTROPY)
        if result.forget_quality is not None:
            yield Row(group, "forget quality", "", f"{result.forget_quality:.2g}", "", _QUALITY)


def _in_order(tiers: dict[str, LensResult] | dict[str, MemoryResult]) -> list[str]:
    return sorted(tiers, key=lambda tier: (TIERS.index(tier) if tier in TIERS else len(TIERS), tier))


def _plain_row(group: str, score: str, values: ByModel, says: str) -> Row:
    cells = (_NONE if value is None else f"{value:.2f}" for value in (values.base, values.unlearned, values.reference))
    return _row(group, score, cells, says)


def _row(group: str, score: str, cells: Iterable[str], says: str) -> Row:
    base, unlearned, reference = cells
    return Row(group, score, base, unlearned, reference, says)


def _interval(estimate: Estimate | None) -> str:
    return _NONE if estimate is None else f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _rate(separation: Separation | None) -> str:
    return _NONE if separation is None else percent(separation.true_positive_rate)
