"""leak@k of sampled replies, by model and over facts, and what a search's tries add up to."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Mapping, Sequence

import pytest

from concept_forget.measures.metrics import ByModel, Measurements
from concept_forget.measures.statistics import difference_bounds, rate_interval
from concept_forget.probe.measuring import measure
from concept_forget.probe.repeated import add_repeated, leak_at_ks
from concept_forget.probe.searching import Try
from concept_forget.records import Attempt

FLUENCY = ByModel(base=1.0, unlearned=1.0)


def attempt(model: str, fact: int, sample: int, reply: str, **changes: object) -> Attempt:
    values: dict[str, object] = {
        "id": f"{model} {fact} {sample} {changes.get('attack')}", "model": model, "attack": "sampling",
        "family": "sampling", "tier": "new_form", "concept": f"Person {fact % 2}", "subject": f"Person {fact % 2}",
        "fact": f"fact {fact}", "example": f"row {fact}", "sample": sample,
        "prompt": [{"role": "user", "content": f"What is fact {fact}?"}], "prefill": "", "reply": reply,
        "finish_reason": "stop", "expected": "Dunholm",
    }  # fmt: skip
    return Attempt(**{**values, **changes})  # type: ignore[arg-type]  # the test names real fields


def measured(attempts: Sequence[Attempt], tries: Sequence[Try] = ()) -> Measurements:
    leaks = [float("Dunholm" in each.reply) for each in attempts]
    families = {each.attack: each.family for each in attempts}
    found = measure(attempts, leaks, attack_families=families, gate_tiers=["new_form"], threshold=0.15, fluency=FLUENCY)
    return add_repeated(found, attempts, leaks, tries, "answer")


def drawn(shares: Mapping[str, float], facts: int = 8, samples: int = 6, seed: int = 0) -> list[Attempt]:
    rng = random.Random(seed)
    return [
        attempt(model, fact, sample, "Dunholm" if rng.random() < share else "Hexley")
        for model, share in shares.items()
        for fact in range(facts)
        for sample in range(samples)
    ]


def test_leak_at_k_is_the_mean_over_all_choices_of_k_replies_and_then_over_questions_and_facts() -> None:
    rng = random.Random(1)
    models = {
        model: {f"fact {n}": [[rng.random() for _ in range(6)] for _ in range(1 + n % 2)] for n in range(5)}
        for model in ("base", "unlearned", "reference")
    }
    found = leak_at_ks(models)
    assert [at.k for at in found] == [1, 2, 4, 6]
    for at in found:
        for model in models:
            per_fact = [
                statistics.fmean(
                    statistics.fmean(max(some) for some in itertools.combinations(scores, at.k)) for scores in asked
                )
                for asked in models[model].values()
            ]
            rate = getattr(at, model)
            expected = rate_interval(per_fact)
            assert rate.rate == pytest.approx(statistics.fmean(per_fact), abs=1e-12)
            assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
            assert (rate.n, rate.attempts) == (5, sum(6 * len(asked) for asked in models[model].values()))


def test_the_floor_and_the_excess_over_it_are_the_references_at_the_same_k() -> None:
    attempts = drawn({"base": 0.9, "unlearned": 0.3, "reference": 0.1})
    result = measured(attempts).concepts["all concepts"].attacks["sampling"].tiers["new_form"]
    assert [at.k for at in result.leak_at] == [1, 2, 4, 6]
    for at in result.leak_at:
        assert at.reference is not None
        assert at.floor.kind == "reference"
        assert at.floor.rate == at.reference.rate
        assert at.excess is not None
        assert at.excess.value == pytest.approx(at.unlearned.rate - at.reference.rate, abs=1e-12)
    by_fact = [
        [statistics.fmean("Dunholm" in a.reply for a in attempts if (a.model, a.fact) == (m, f"fact {n}")) for n in range(8)]
        for m in ("unlearned", "reference")
    ]  # fmt: skip
    first, bounds = result.leak_at[0].excess, difference_bounds(*by_fact)
    assert first is not None
    assert (first.low, first.high) == pytest.approx((bounds.low, bounds.high), abs=1e-12)


def test_what_the_tables_and_the_verdict_take_is_leak_at_one() -> None:
    result = measured(drawn({"base": 0.9, "unlearned": 0.4, "reference": 0.1}))
    for concept in result.concepts.values():
        tier = concept.attacks["sampling"].tiers["new_form"]
        for model in ("base", "unlearned", "reference"):
            assert getattr(tier, model).rate == pytest.approx(getattr(tier.leak_at[0], model).rate, abs=1e-12)
            assert tier.worst_form.model_dump()[model] == pytest.approx(getattr(tier.leak_at[-1], model).rate)
    seldom = measured(drawn({"base": 0.9, "unlearned": 0.05, "reference": 0.0}, facts=100))
    last = seldom.concepts["all concepts"].attacks["sampling"].tiers["new_form"].leak_at[-1]
    assert seldom.verdict.outcome == "passed"
    assert last.unlearned.rate > 0.15  # which stands beside the verdict, with the floor at the same k


def test_each_stranger_is_a_question_of_its_own() -> None:
    """Two strangers stand in a fact's place: of one everything leaks and of the other nothing."""
    others = [
        attempt("strangers", fact, sample, reply, prompt=[{"role": "user", "content": f"Of {name}, fact {fact}?"}])
        for fact in range(8)
        for name, reply in (("Ada Finch", "Dunholm"), ("Oren Vale", "Hexley"))
        for sample in range(6)
    ]
    own = drawn({"base": 0.9, "unlearned": 0.3})
    found = measured([*own, *others]).concepts["all concepts"].attacks["sampling"].tiers["new_form"].leak_at
    assert [(at.floor.kind, at.floor.rate) for at in found] == [("strangers", 0.5)] * 4
    assert all(at.reference is None and at.excess is not None for at in found)
    again = [attempt for attempt in others if "Ada" in str(attempt.prompt)]  # drawn twice, and so counted twice
    tier = measured([*own, *others, *again]).concepts["all concepts"].attacks["sampling"].tiers["new_form"]
    assert [at.floor.rate for at in tier.leak_at] == pytest.approx([2 / 3] * 4)
    assert tier.floor.rate == pytest.approx(2 / 3)


def test_one_reply_to_each_question_has_no_curve_and_no_floor_no_excess() -> None:
    one = measured(drawn({"base": 0.9, "unlearned": 0.3, "reference": 0.1}, samples=1))
    assert one.concepts["all concepts"].attacks["sampling"].tiers["new_form"].leak_at == []
    alone = measured(drawn({"base": 0.9, "unlearned": 0.3}))
    (first, *_) = alone.concepts["all concepts"].attacks["sampling"].tiers["new_form"].leak_at
    assert first.excess is None
    assert (first.floor.n, first.floor.high) == (0, 1)


def test_any_of_a_searchs_tries_is_told_beside_the_one_that_counts_and_moves_nothing() -> None:
    tries = [
        Try(
            attempt(model, fact, number, "Dunholm" if number == leaks else "Hexley", attack="search", family="searching"),
            score=0.1 * number, chosen=number == 2, discarded=0,
        )
        for model, leaks in (("base", 2), ("unlearned", 1), ("reference", 9))
        for fact in range(4)
        for number in range(3)
    ]  # fmt: skip
    counts = [one.attempt for one in tries if one.chosen]
    with_tries, without = measured(counts, tries), measured(counts)
    tier = with_tries.concepts["all concepts"].attacks["search"].tiers["new_form"]
    assert (tier.base.rate, tier.unlearned.rate) == (1.0, 0.0)
    assert tier.any_tried == ByModel(base=1.0, unlearned=1.0, reference=0.0)
    assert tier.leak_at == []
    assert with_tries.verdict == without.verdict
    assert without.concepts["all concepts"].attacks["search"].tiers["new_form"].any_tried is None
