from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.compose.forms import Allotment, allot, keep_apart
from concept_forget.compose.wording import words
from concept_forget.records import Question

COUNTS = st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 5), st.integers(0, 5)).filter(any)


def wordings(counts: tuple[int, int, int, int]) -> list[Question]:
    names = ("direct", "paraphrase", "reverse", "cloze")
    return [
        Question(id=f"{family} {n}", fact="f", family=family, variant=n, text=f"{family} number {n}", answer="a")
        for family, count in zip(names, counts, strict=True)
        for n in range(count)
    ]


def by_family(questions: tuple[Question, ...]) -> dict[str, int]:
    return {family: sum(q.family == family for q in questions) for family in dict.fromkeys(q.family for q in questions)}


@given(COUNTS)
def test_no_wording_stands_on_two_sides_and_something_is_trained(counts: tuple[int, int, int, int]) -> None:
    allotment = allot(wordings(counts), "trained")
    sides = [{q.id for q in side} for side in (allotment.train, allotment.validation, allotment.probe)]
    assert sum(map(len, sides)) == len(set().union(*sides)) == sum(counts)
    assert allotment.train
    assert not {q.id for q in allotment.check} & sides[2]


@given(COUNTS)
def test_a_fact_that_the_probe_alone_asks_is_trained_on_and_validated_by_nothing(
    counts: tuple[int, int, int, int],
) -> None:
    allotment = allot(wordings(counts), "new_fact")
    assert not allotment.train
    assert not allotment.validation
    assert not set(allotment.check) & set(allotment.probe)


@given(COUNTS)
def test_both_tiers_are_asked_alike_where_wordings_abound(counts: tuple[int, int, int, int]) -> None:
    questions = wordings(tuple(count + 2 for count in counts))  # type: ignore[arg-type]  # four stay four
    assert allot(questions, "trained").probe == allot(questions, "new_fact").probe


def test_the_probe_keeps_the_direct_question_and_the_last_of_every_form() -> None:
    allotment = allot(wordings((1, 4, 3, 2)), "trained")
    assert [q.id for q in allotment.probe] == ["direct 0", "paraphrase 3", "reverse 2", "cloze 1"]
    assert [q.id for q in allotment.validation] == ["paraphrase 2", "reverse 1"]
    assert [q.id for q in allotment.train] == ["paraphrase 0", "paraphrase 1", "reverse 0", "cloze 0"]
    assert [q.id for q in allotment.check] == ["paraphrase 0", "paraphrase 1", "paraphrase 2"]


def test_a_third_of_many_paraphrases_is_kept_back() -> None:
    assert by_family(allot(wordings((1, 9, 0, 0)), "trained").probe)["paraphrase"] == 3


@pytest.mark.parametrize(
    ("counts", "trained", "probed"),
    [
        ((1, 0, 0, 0), {"direct": 1}, {}),
        ((1, 0, 0, 1), {"cloze": 1}, {"direct": 1}),
        ((1, 0, 1, 0), {"reverse": 1}, {"direct": 1}),
        ((1, 0, 1, 1), {"cloze": 1}, {"direct": 1, "reverse": 1}),
        ((1, 1, 0, 0), {"paraphrase": 1}, {"direct": 1}),
    ],
)
def test_with_few_wordings_training_comes_first_and_the_direct_question_stays_back_longest(
    counts: tuple[int, int, int, int], trained: dict[str, int], probed: dict[str, int]
) -> None:
    allotment = allot(wordings(counts), "trained")
    assert (by_family(allotment.train), by_family(allotment.probe)) == (trained, probed)


def test_wordings_from_the_corpus_are_rather_trained_on() -> None:
    mined = Question(id="mined", fact="f", family="cloze", variant=2, text="mined", answer="a", source="mined")
    allotment = allot([*wordings((1, 3, 0, 1)), mined], "trained")
    assert mined in allotment.train
    assert "cloze 0" in [q.id for q in allotment.probe]


def test_validation_asks_one_wording_of_every_form() -> None:
    assert by_family(allot(wordings((1, 4, 3, 2)), "validation").validation) == {
        "direct": 1,
        "paraphrase": 1,
        "reverse": 1,
        "cloze": 1,
    }


def test_where_everything_is_trained_the_probe_asks_exactly_that_but_for_one_paraphrase_that_checks() -> None:
    questions = wordings((1, 3, 1, 1))
    allotment = allot(questions, "trained", everything=True)
    assert list(allotment.train) == questions
    assert [q.id for q in allotment.check] == ["paraphrase 0"]
    assert set(allotment.probe) == set(questions) - set(allotment.check)
    assert not allotment.validation


@given(st.lists(st.tuples(COUNTS, st.sampled_from(["trained", "new_fact", "validation"])), max_size=4), st.data())
def test_equal_words_fall_on_one_side_whatever_they_ask_for(
    facts: list[tuple[tuple[int, int, int, int], Any]], data: st.DataObject
) -> None:
    pool = st.sampled_from(["Who is it?", "who is it", "What is it?", "WHO?", "Where?", "Say it.", "Say it!"])
    allotments: dict[str, Allotment] = {}
    for number, (counts, role) in enumerate(facts):
        questions = [
            Question(id=q.id, fact=str(number), family=q.family, variant=q.variant, text=data.draw(pool), answer="a")
            for q in wordings(counts)
        ]
        allotments[str(number)] = allot(questions, role)
    apart = keep_apart(allotments)
    train, validation, probe = (
        {words(q.text) for allotment in apart.values() for q in getattr(allotment, side)}
        for side in ("train", "validation", "probe")
    )
    assert not train & probe
    assert not train & validation
    assert not validation & probe
    assert not {words(q.text) for allotment in apart.values() for q in allotment.check} & probe
    assert probe == {words(q.text) for allotment in allotments.values() for q in allotment.probe}


def test_scenarios_are_divided_as_other_wordings_and_chains_are_not() -> None:
    plain = wordings((1, 4, 3, 2))
    scenes = [Question(f"scene {n}", "f", "scenario", n, f"scene {n}", "a") for n in range(3)]
    chain = Question("chain", "f", "two_hop", 0, "chain", "b")
    before, after = allot(plain, "trained"), allot([*plain, *scenes, chain], "trained")
    for side in ("train", "validation", "probe"):
        added = [q.id for q in getattr(after, side) if q not in getattr(before, side)]
        assert added == {"train": ["scene 0"], "validation": ["scene 1"], "probe": ["scene 2"]}[side]
    assert chain not in (*allot([*plain, chain], "trained", everything=True).train, *after.train)
    assert [q.id for q in allot(scenes, "new_fact").probe] == ["scene 2"]
