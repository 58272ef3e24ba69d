"""Scores of memory on taught models, and their figures by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from scipy import stats

from concept_forget.engines.protocol import Request, Sampling
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.measures.metrics import ALL_CONCEPTS
from concept_forget.probe.white_box import View
from concept_forget.probe.white_box.memory import SCORES, measure_memory, measure_utility, memory
from concept_forget.probe.white_box.registry import Item
from concept_forget.records import ModelSpec

ENGINE_TOKENS = 4096


@pytest.fixture(scope="module")
def readings(view: View, specs: dict[str, ModelSpec]) -> dict[str, list[Item]]:
    base, ignorant = (memory(TransformersEngine(specs[role], ENGINE_TOKENS), view) for role in ("base", "reference"))
    return {"base": base, "unlearned": ignorant, "reference": ignorant}


def test_what_knows_scores_high_and_what_never_learned_scores_low(view: View, readings: dict[str, list[Item]]) -> None:
    found = measure_memory(view, readings)
    assert set(found) == {*(concept.name for concept in view.concepts), ALL_CONCEPTS}
    result = found[ALL_CONCEPTS]["new_form"]
    assert tuple(result.scores) == SCORES
    for name, score in result.scores.items():
        assert score.reference == score.unlearned
        if name == "truth_ratio_closer_to_1_better":  # wrong answers are as likely as the right one: forgotten
            assert score.base.value < 0.3 < score.unlearned.value
        else:
            assert score.base.low > score.unlearned.high, name
            assert score.base.value > 0.8, name
    assert result.forget_quality == 1.0
    known = measure_memory(view, {**readings, "unlearned": readings["base"]})[ALL_CONCEPTS]["new_form"]
    assert known.forget_quality is not None
    assert known.forget_quality < 1e-3


def test_the_figures_are_those_of_the_engines_scores(
    view: View, readings: dict[str, list[Item]], nano_model: Path
) -> None:
    engine = TransformersEngine(ModelSpec(str(nano_model)))
    options = {row.fact: row.options for row in view.probe if row.options}
    for row, item in list(zip(view.direct, readings["base"], strict=False))[:6]:
        wrong = [option for option in options.get(row.fact, ()) if option != row.answer] or [row.counterfactual]
        texts = [row.completion, *wrong]
        scores = [engine.score([(Request(row.prompt), text)])[0] for text in texts]
        likely = [stats.gmean([math.exp(value) for value in score.logprobs]) for score in scores]
        ratio = stats.gmean(likely[1:]) / likely[0]
        [[reply]] = engine.generate([Request(row.prompt)], Sampling(max_new_tokens=24))
        ranks = scores[0].ranks
        streak = next((n for n, rank in enumerate(reversed(ranks)) if rank), len(ranks))
        assert item["reply"] == reply.text
        assert item["probability"] == pytest.approx(likely[0], rel=1e-4)
        assert item["probability_among_options"] == pytest.approx(likely[0] / sum(likely), rel=1e-4)
        assert item["truth_ratio"] == pytest.approx(ratio, rel=1e-3)
        assert item["truth_ratio_closer_to_1_better"] == pytest.approx(min(ratio, 1 / ratio), rel=1e-3)
        assert item["truth_ratio_true_better"] == pytest.approx(max(0, 1 - ratio), abs=1e-4)
        assert item["truth_ratio_prob_mean"] == pytest.approx(1 / (1 + ratio), rel=1e-4)
        assert item["exact_memorisation"] == sum(rank == 0 for rank in ranks) / len(ranks)
        assert item["extraction_strength"] == streak / len(ranks)
        if reply.text == row.completion:
            assert item["rouge_l_recall"] == item["rouge_1_recall"] == item["verbatim_span"] == 1


def test_another_spelling_of_the_answer_is_the_paraphrase(view: View, nano_model: Path) -> None:
    row = dataclasses.replace(view.direct[0], aliases=("Nowhere Hall",))
    wrong = row.counterfactual
    small = dataclasses.replace(view, probe=[row], collateral=[])
    engine = TransformersEngine(ModelSpec(str(nano_model)))
    [item] = memory(engine, small)
    true, false = engine.score([(Request(row.prompt), "Nowhere Hall"), (Request(row.prompt), wrong)])
    means = [sum(score.logprobs) / len(score.logprobs) for score in (true, false)]
    assert item["truth_ratio"] == pytest.approx(math.exp(means[1] - means[0]), rel=1e-3)
    [plain] = memory(engine, dataclasses.replace(small, probe=[view.direct[0]]))
    assert plain["truth_ratio"] < item["truth_ratio"]
    for score in ("probability", "probability_among_options", "exact_memorisation", "extraction_strength"):
        assert item[score] == pytest.approx(plain[score], rel=1e-4)


def test_the_mean_is_over_facts_and_what_is_missing_is_left_out(view: View) -> None:
    def item(fact: str, value: float, share: float | None, ratio: float | None, entropy: float | None) -> Item:
        return {
            **dict.fromkeys(SCORES, value), "row": f"{fact}{value}", "split": "probe", "concept": "c",
            "tier": "new_form", "fact": fact, "probability_among_options": share,
            "truth_ratio": ratio, "ngram_entropy": entropy,
        }  # fmt: skip

    base = [item("a", 0.2, None, 0.5, 1.0), item("a", 0.6, None, 0.5, 2.0), item("b", 1.0, 0.3, None, None)]
    other = [item("a", 0.1, None, 5.0, None), item("a", 0.1, None, 5.0, None), item("b", 0.1, 0.1, None, None)]
    result = measure_memory(view, {"base": base, "unlearned": other})["c"]["new_form"]
    assert result.scores["probability"].base.value == pytest.approx(0.7, abs=1e-12)
    assert result.scores["probability"].facts == 2
    assert result.scores["probability_among_options"].facts == 1
    assert result.scores["probability_among_options"].base.value == pytest.approx(0.3, abs=1e-12)
    assert result.ngram_entropy.base == 1.5
    assert result.ngram_entropy.unlearned is None
    assert result.forget_quality is None  # no reference
    judged = measure_memory(view, {"base": base, "unlearned": other, "reference": base})["c"]["new_form"]
    assert judged.forget_quality == stats.ks_2samp([5.0], [0.5]).pvalue


def test_the_utility_is_the_harmonic_mean_of_nine(
    view: View, readings: dict[str, list[Item]], specs: dict[str, ModelSpec]
) -> None:
    utility = measure_utility(readings)
    assert utility is not None
    assert list(utility.parts) == [
        f"{distance} {score}"
        for distance in ("far", "middle", "near")
        for score in ("probability", "rouge_l_recall", "truth_ratio_true_better")
    ]
    parts = [part.base for part in utility.parts.values() if part.base is not None]
    assert utility.value.base == pytest.approx(stats.hmean(parts), rel=1e-9)
    assert utility.value.base > 0.7
    assert utility.value.unlearned == utility.value.reference
    near = [i for i in readings["base"] if i["split"] == "collateral" and i["tier"] == "near"]
    assert utility.parts["near probability"].base == pytest.approx(
        sum(i["probability"] for i in near) / len(near), rel=1e-9
    )
    lonely = [row for row in view.collateral if row.tier == "far"][:1]
    answer = dataclasses.replace(lonely[0], id="other", split="retain", subject="Other", answer="Somewhere")
    for retain in ([], [answer]):  # what the retain set says of others serves as wrong answer
        small = dataclasses.replace(view, probe=[], collateral=lonely, retain=retain)
        [read] = memory(TransformersEngine(specs["base"]), small)
        assert (read["truth_ratio"] is None) is (not retain)
    without = {model: [{**i, "truth_ratio_true_better": None} for i in items] for model, items in readings.items()}
    assert measure_utility(without) is None
    asked = {model: [i for i in items if i["split"] == "probe"] for model, items in readings.items()}
    assert measure_utility(asked) is None


def test_a_neighbours_fact_counts_once_in_the_utility() -> None:
    def item(fact: str, value: float) -> Item:
        scores = dict.fromkeys(("probability", "rouge_l_recall", "truth_ratio_true_better"), value)
        return {**scores, "row": f"{fact} {value}", "split": "collateral", "tier": "near", "fact": fact}

    items = [item("a", 0.2), item("a", 0.4), item("a", 0.6), item("b", 1.0)]
    utility = measure_utility({"base": items, "unlearned": items[-1:]})
    assert utility is not None
    assert utility.value.base == pytest.approx(0.7, abs=1e-12)
    assert utility.value.unlearned == 1.0
    assert utility.value.reference is None


def test_batches_and_order_do_not_matter(view: View, readings: dict[str, list[Item]], nano_model: Path) -> None:
    backwards = dataclasses.replace(view, probe=view.probe[::-1], collateral=[])
    found = memory(TransformersEngine(ModelSpec(str(nano_model)), 60), backwards)[::-1]
    for item, other in zip(found, readings["base"], strict=False):
        assert item["row"] == other["row"]
        assert item["reply"] == other["reply"]
        assert item["extraction_strength"] == other["extraction_strength"]
        for score in ("probability", "probability_among_options", "truth_ratio"):
            assert item[score] == pytest.approx(other[score], rel=1e-3)
