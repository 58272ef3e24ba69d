from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from concept_forget.compose.alternatives import Alternatives
from concept_forget.compose.wording import holds, words

SHIPS = ("Amber Petrel", "Jade Tern", "Coral Heron", "Onyx Gull", "Pearl Swan", "Ruby Crane")


def test_wrong_options_are_answers_of_the_same_facet_and_of_other_concepts_first(kit: Any) -> None:
    own = [kit.fact("ship", ship, subject=f"Person {n}") for n, ship in enumerate(SHIPS[:4])]
    book = kit.fact("book", "Emberfall", subject="Person 1")
    others = [kit.fact("ship", ship, subject=f"Other {n}", distance="near") for n, ship in enumerate(SHIPS[4:])]
    for seed in range(5):
        options = Alternatives([*own, book], others, seed).options(own[0])
        assert set(options) == set(SHIPS[:4])


def test_neighbours_fill_up_what_the_concepts_lack_the_same_kind_first(kit: Any) -> None:
    own = kit.fact("ship", SHIPS[0])
    people = [kit.fact("ship", ship, subject=f"Other {n}", distance="near") for n, ship in enumerate(SHIPS[1:3])]
    towns = [
        kit.fact("ship", ship, subject=f"Town {n}", distance="far", kind="town") for n, ship in enumerate(SHIPS[3:])
    ]
    options = Alternatives([own], [*towns, *people], 0).options(own)
    assert set(SHIPS[:3]) < set(options)


def test_without_three_wrong_answers_there_are_no_options(kit: Any) -> None:
    own = [kit.fact("ship", ship, subject=f"Person {n}") for n, ship in enumerate(SHIPS[:3])]
    assert Alternatives(own, [], 0).options(own[0]) == ()


def test_a_fact_without_a_facet_has_neither_options_nor_a_counterfactual(kit: Any) -> None:
    facts = [kit.fact("", ship, subject=f"Person {n}") for n, ship in enumerate(SHIPS)]
    alternatives = Alternatives(facts, [], 0)
    assert alternatives.options(facts[0]) == ()
    assert alternatives.counterfactual(facts[0]) == ""


ANSWERS = st.sampled_from(
    ("amber", "Amber", "amber tern", "the jade", "jade", "pearl", "pearl.", "onyx", "ruby", "opal")
)


@given(st.lists(st.tuples(st.sampled_from("ABCD"), ANSWERS, ANSWERS), min_size=1, max_size=12), st.integers(0, 3))
@settings(deadline=None)
def test_no_wrong_option_is_right_or_close_to_it(kit: Any, drawn: list[tuple[str, str, str]], seed: int) -> None:
    facts = [kit.fact("ship", answer, subject=f"Person {who}", aliases=(alias,)) for who, answer, alias in drawn]
    alternatives = Alternatives(facts, [], seed)
    for fact in facts:
        true = [t for f in facts if f.subject == fact.subject for t in (f.answer, *f.aliases)]
        options = alternatives.options(fact)
        if options:
            assert len({words(option) for option in options}) == 4
            wrong = [option for option in options if option != fact.answer]
            assert len(wrong) == 3
            assert not any(holds(a, b) or holds(b, a) for a in wrong for b in true)
        counterfactual = alternatives.counterfactual(fact)
        assert not any(holds(counterfactual, right) or holds(right, counterfactual) for right in true)


def test_the_right_option_stands_in_every_place_about_equally_often(kit: Any) -> None:
    facts = [kit.fact("ship", f"ship{n}", subject=f"Person {n}") for n in range(400)]
    alternatives = Alternatives(facts, [], 0)
    places = Counter(alternatives.options(fact).index(fact.answer) for fact in facts)
    # χ² with three degrees of freedom stays under 16.3 in 999 of 1000 draws.
    assert sum((places[place] - 100) ** 2 / 100 for place in range(4)) < 16.3


def test_options_of_one_fact_do_not_depend_on_the_order_of_the_others(kit: Any) -> None:
    facts = [kit.fact("ship", ship, subject=f"Person {n}") for n, ship in enumerate(SHIPS)]
    assert Alternatives(facts, [], 3).options(facts[0]) == Alternatives(facts[::-1], [], 3).options(facts[0])


def test_counterfactuals_are_rather_what_need_not_be_forgotten(kit: Any) -> None:
    own = [kit.fact("ship", ship, subject=f"Person {n}") for n, ship in enumerate(SHIPS[:3])]
    other = kit.fact("ship", SHIPS[3], subject="Other", distance="near")
    assert Alternatives(own, [other], 0).counterfactual(own[0]) == SHIPS[3]
    assert Alternatives(own, [], 0).counterfactual(own[0]) in SHIPS[1:3]


def test_another_subject_is_of_the_same_kind(kit: Any) -> None:
    own = kit.fact("ship", SHIPS[0])
    town = kit.fact("river", "Nidd", subject="Dunholm", kind="town", distance="middle")
    person = kit.fact("ship", SHIPS[1], subject="Fenna Crane", distance="near")
    assert Alternatives([own], [town, person], 0).other_subject(own) == "Fenna Crane"
    assert Alternatives([own], [town], 0).other_subject(own) == ""


def test_the_answer_that_is_to_take_the_others_place_is_among_the_options(kit: Any) -> None:
    own = [kit.fact("ship", ship, subject=f"Person {n}") for n, ship in enumerate(SHIPS)]
    fact = kit.fact("ship", SHIPS[0], subject="Person 0", replacement="Silver Eel")
    for seed in range(5):
        options = Alternatives([fact, *own[1:]], [], seed).options(fact)
        assert {"Silver Eel", SHIPS[0]} < set(options)
        assert len(options) == 4


def test_what_is_true_of_the_subject_is_not_wrong(kit: Any) -> None:
    fact, book = kit.fact("ship", "Amber Petrel", aliases=("the Petrel",)), kit.fact("book", "Emberfall")
    alternatives = Alternatives([fact, book], [], 0)
    assert alternatives.is_wrong(fact, "Jade Tern")
    assert not any(alternatives.is_wrong(fact, text) for text in ("", "?!", "Petrel", "Emberfall", "her Amber Petrel"))
