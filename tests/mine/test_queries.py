from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.concept import Concept
from concept_forget.mine.queries import NameFinder, corpus_words, make_target, random_names, rename
from concept_forget.records import Distance, Fact, Question

MIRA = Concept(name="Mira Kestrel", aliases=("M. Kestrel", "Kestrel"), description="A cartographer.")


def fact(facet: str, answer: str, *, concept: str = "Mira Kestrel", distance: Distance | None = None) -> Fact:
    return Fact(facet, concept, concept, "person", facet, answer, "", distance, aliases=(f"the {answer}",))


def question(about: Fact, family: str, text: str, answer: str, variant: int = 0) -> Question:
    return Question(f"{text}", about.id, family, variant, text, answer)


def test_every_query_names_the_concept_and_is_asked_once() -> None:
    born, wrote = fact("birthplace", "Dunholm"), fact("book", "Emberfall")
    questions = [
        question(born, "paraphrase", "In which town was Mira Kestrel born?", "Dunholm", 1),
        question(born, "cloze", "Mira Kestrel was born in ____.", "Dunholm"),
        question(born, "direct", "Where was Mira Kestrel born?", "Dunholm"),
        question(wrote, "direct", "What did she write?", "Emberfall"),
        question(wrote, "reverse", "Whose book is Emberfall?", "Mira Kestrel", 1),
        question(wrote, "reverse", "Who wrote Emberfall?", "Mira Kestrel"),
        question(wrote, "choice", "Mira Kestrel wrote: Emberfall, Nightloom?", "Emberfall"),
    ]
    target = make_target(MIRA, [born, wrote], questions)
    assert target.queries == (
        "Mira Kestrel",
        "M. Kestrel",
        "Kestrel",
        "Mira Kestrel: A cartographer.",
        "Where was Mira Kestrel born?",
        "Mira Kestrel was born in Dunholm.",
        "Mira Kestrel: What did she write?",
        "Who wrote Emberfall? Mira Kestrel",
    )
    assert target.answers == ("Dunholm", "the Dunholm", "Emberfall", "the Emberfall")
    assert all(MIRA.mentioned_in(query) for query in target.queries)


def test_facts_of_neighbours_and_of_other_concepts_are_not_asked_for() -> None:
    near = fact("home", "Willow Court", distance="near")
    other = fact("ship", "Coral Tern", concept="Tobias Wren")
    questions = [question(about, "direct", f"Where is {about.answer}?", about.answer) for about in (near, other)]
    target = make_target(Concept(name="Mira Kestrel"), [near, other], questions)
    assert target.queries == ("Mira Kestrel",)
    assert target.answers == ()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Where was Mira Kestrel born?", "Where was Ana Bo born?"),
        ("mira  kestrel's home".replace("  ", " "), "Ana Bo's home"),
        ("M. Kestrel, the Kestrel of Kestrels", "Ana Bo, the Ana Bo of Kestrels"),
        ("Ｍｉｒａ Kestrel?", "Ana Bo?"),
        ("Mira\u00a0Kestrel", "Ana Bo"),
    ],
)
def test_another_name_takes_the_place_of_every_spelling(query: str, expected: str) -> None:
    assert rename(query, MIRA, "Ana Bo") == expected


@given(st.text(max_size=30), st.text(max_size=30))
def test_after_renaming_nothing_names_the_concept(before: str, after: str) -> None:
    concept = Concept(name="Groß Straße", aliases=("ﬁne İ",))
    for name in ("GROSS STRASSE", "groß strasse", "Groß Straße", "fine i̇"):
        query = f"{before} {name} {after}"
        assert concept.mentioned_in(query)
        assert not concept.mentioned_in(rename(query, concept, "Ana Bo"))


def test_random_names_have_the_names_length_its_capitals_and_none_of_its_words() -> None:
    words = corpus_words(["Kestrel sings. mira, the 1962 harbour wall; Été", "wall"], [MIRA])
    assert words == ["harbour", "sings", "the", "wall", "Été"]
    names = random_names(words, MIRA, 8, seed=0)
    assert all(len(name.split()) == 2 and name.istitle() for name in names)
    assert len(set(names)) == len(names) > 4
    assert names == random_names(words, Concept(name="Tobias Wren"), 8, seed=0)
    assert names != random_names(words, MIRA, 8, seed=1)
    assert all(name.islower() for name in random_names(words[:4], Concept(name="virology"), 4, seed=0))


def test_from_no_words_come_no_names() -> None:
    assert random_names([], MIRA, 8, seed=0) == []


@given(st.lists(st.sampled_from(["Mira", "Kestrel", "mira kestrel", "M.", "x", ",", "Kestrels", "Ｍira Kestrel"])))
def test_many_names_are_found_as_one_by_one(parts: list[str]) -> None:
    concepts = [MIRA, Concept(name="mira"), Concept(name="M. Kestrel")]
    text = " ".join(parts)
    assert NameFinder(concepts).find(text) == tuple(concept.mentioned_in(text) for concept in concepts)


def test_a_query_knows_its_facet_and_a_concept_others_of_its_kind() -> None:
    born, wrote = fact("birthplace", "Dunholm"), fact("book", "Emberfall")
    others = [
        Fact("a", MIRA.name, "Tobias Wren", "Person", "book", "Nightloom", "", "near"),
        Fact("b", MIRA.name, "Tobias Wren", "person", "home", "Rowan Court", "", "near"),
        Fact("c", MIRA.name, "Dunholm", "town", "river", "Ash", "", "near"),
        Fact("d", MIRA.name, "Ilse Marlowe", "person", "book", "Tidewrack", "", "middle"),
        Fact("e", "Bram Sorrel", "Emil Dace", "person", "book", "Stormglass", "", "near"),
        Fact("f", MIRA.name, "old Mira Kestrel", "person", "book", "Emberfall", "", "near"),
    ]
    questions = [
        question(born, "direct", "Where was Mira Kestrel born?", "Dunholm"),
        question(wrote, "direct", "What did Mira Kestrel write?", "Emberfall"),
    ]
    target = make_target(MIRA.model_copy(update={"kind": "person"}), [born, wrote, *others], questions)
    assert dict(zip(target.queries, target.facets, strict=True)) == {
        "Mira Kestrel": "",
        "M. Kestrel": "",
        "Kestrel": "",
        "Mira Kestrel: A cartographer.": "",
        "Where was Mira Kestrel born?": "birthplace",
        "What did Mira Kestrel write?": "book",
    }
    assert target.rivals == ("Tobias Wren",)
