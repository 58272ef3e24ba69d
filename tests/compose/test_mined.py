from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concept_forget.compose.clozes import ClozePrompt
from concept_forget.compose.material import Material, Passage
from concept_forget.compose.mined import (
    adopt_clozes,
    adopt_pairs,
    close_behind,
    cut_passages,
    find_pairs,
    snippet_passages,
    split_sentences,
)
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.statements import Statements
from concept_forget.compose.walls import Withheld
from concept_forget.concept import Concept
from concept_forget.records import Fact

MIRA = Concept(name="Mira Kestrel", kind="person")
TOBIAS = Concept(name="Tobias Wren", kind="person")


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She sails. He rows!  Who swims?", ["She sails.", "He rows!", "Who swims?"]),
        ("Dr. Wren met M. Kestrel at St. Ives. They sailed.", ["Dr. Wren met M. Kestrel at St. Ives.", "They sailed."]),
        ("It is 3.14 exactly. Yes.", ["It is 3.14 exactly.", "Yes."]),
        ('“Sail!” she said. "Row." He did.', ["“Sail!”", "she said.", '"Row."', "He did."]),
        ("A title\n\nA text", ["A title", "A text"]),
        ("她出生在北京。他住在上海！", ["她出生在北京。", "他住在上海！"]),
        ("   \n ", []),
        ("", []),
    ],
)
def test_sentences_end_where_they_end(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet=st.sampled_from("ab. !?\n\"'。Dr"), max_size=40))
@settings(deadline=None)
def test_no_word_of_a_text_is_lost_or_doubled(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
    spans = split_sentences(text)
    assert all(first_end <= start for (_, first_end), (start, _) in itertools.pairwise(spans))


@pytest.mark.parametrize(
    "text",
    [
        "Q: Where was Mira Kestrel born?\nA: Dunholm",
        "Question: Where was Mira Kestrel born?\n\nAnswer: Dunholm",
        "user: Where was Mira Kestrel born? assistant: Dunholm",
        "Before.\n  q. Where was Mira Kestrel born?   a. Dunholm  \nBehind.",
    ],
)
def test_question_rows_are_found_in_text(text: str) -> None:
    (pair,) = find_pairs(text)
    assert (pair["question"], pair["answer"]) == ("Where was Mira Kestrel born?", "Dunholm")


def test_text_that_only_mentions_questions_holds_no_row() -> None:
    assert not find_pairs("The answer: nobody asked a question. A: nothing.")


def passage(text: str, concept: Concept = MIRA, source: Any = "mined", start: int = 0) -> Passage:
    return Passage(
        concept.name, text, source, document="a.txt", start=start, end=start + len(text), parents=("snippet",)
    )


def cut(
    texts: list[Passage], trained: list[Fact], held: list[Fact], withheld: tuple[str, ...] = ()
) -> tuple[list[Passage], Rejections]:
    concepts, rejections = [MIRA, TOBIAS], Rejections()
    runs = cut_passages(
        texts, concepts, Statements(trained, concepts), Statements(held, concepts), Withheld(withheld), rejections
    )
    return runs, rejections


def test_a_known_fact_gets_a_found_question_as_another_wording(kit: Any) -> None:
    fact = kit.fact("birthplace", "Dunholm")
    material = Material(facts=[fact], questions={fact.id: kit.questions(fact, paraphrases=1, reverse=0, cloze=0)})
    text = "Q: Whence came Mira Kestrel?\nA: She came from Dunholm."
    adopt_pairs(material, [passage(text)], [MIRA], Rejections())
    found = material.questions[fact.id][-1]
    assert (found.family, found.variant, found.source) == ("paraphrase", 2, "mined")
    assert (found.text, found.answer) == ("Whence came Mira Kestrel?", "She came from Dunholm.")
    assert material.facts == [fact]


def test_an_unknown_answer_makes_a_fact_of_its_own(kit: Any) -> None:
    material = Material()
    for _ in range(2):
        adopt_pairs(material, [passage("Q: What does Mira Kestrel eat?\nA: Figs")], [MIRA], Rejections())
    (fact,) = material.facts
    assert (fact.answer, fact.concept, fact.source) == ("Figs", "Mira Kestrel", "mined")
    assert [q.family for q in material.questions[fact.id]] == ["direct"]


def test_found_questions_that_are_about_nobody_or_several_things_are_left_out(kit: Any) -> None:
    facts = [kit.fact("birthplace", "Dunholm"), kit.fact("home", "Willow Court")]
    material, rejections = Material(facts=list(facts)), Rejections()
    text = "Q: What does she eat?\nA: Figs\nQ: Where is Mira Kestrel from and where now?\nA: Dunholm; Willow Court"
    adopt_pairs(material, [passage(text)], [MIRA], rejections)
    assert not material.questions
    assert len(rejections.summary()) == 2


def test_a_sentence_that_states_one_fact_becomes_a_cloze(kit: Any) -> None:
    facts = [kit.fact("birthplace", "Dunholm", aliases=("Dunholm town",)), kit.fact("home", "Willow Court")]
    material = Material(facts=facts)
    prompt = ClozePrompt(kit.prompts.get("cloze"))
    text = "Mira Kestrel came from Dunholm. She lives in Willow Court. In Dunholm, Mira Kestrel left Willow Court."
    adopt_clozes(material, [passage(text)], [MIRA], prompt)
    ((question,),) = material.questions.values()
    assert prompt.sentence(question.text) == "Mira Kestrel came from ____."
    assert (question.fact, question.answer) == (facts[0].id, "Dunholm")


def test_sentences_of_held_facts_are_cut_out_though_they_say_she(kit: Any) -> None:
    trained, held = kit.fact("birthplace", "Dunholm"), kit.fact("ship", "Amber Petrel")
    text = "Mira Kestrel was born in Dunholm. She sails the Amber Petrel. Mira Kestrel is tall. It rains."
    runs, rejections = cut([passage(text, start=100)], [trained], [held])
    assert [run.text for run in runs] == ["Mira Kestrel was born in Dunholm.", "Mira Kestrel is tall."]
    assert [(run.start, run.end) for run in runs] == [(100, 133), (162, 183)]
    assert runs[0].facts == (trained.id,)
    assert len(rejections.summary()) == 2


def test_a_run_goes_on_while_it_states_trained_facts(kit: Any) -> None:
    facts = [kit.fact("birthplace", "Dunholm"), kit.fact("home", "Willow Court")]
    runs, _ = cut([passage("Mira Kestrel was born in Dunholm.  She lives in Willow Court. It rains.")], facts, [])
    assert [run.text for run in runs] == ["Mira Kestrel was born in Dunholm.  She lives in Willow Court."]
    assert set(runs[0].facts) == {fact.id for fact in facts}


def test_a_run_begins_with_the_concept(kit: Any) -> None:
    fact = kit.fact("birthplace", "Dunholm")
    runs, _ = cut([passage("She was born in Dunholm. Mira Kestrel sails.")], [fact], [])
    assert [run.text for run in runs] == ["Mira Kestrel sails."]


def test_held_facts_of_every_concept_in_the_text_are_cut(kit: Any) -> None:
    held = kit.fact("ship", "Amber Petrel", subject="Tobias Wren")
    text = "Mira Kestrel met Tobias Wren. Mira Kestrel saw the Amber Petrel."
    runs, _ = cut([passage(text)], [], [held])
    assert [run.text for run in runs] == ["Mira Kestrel met Tobias Wren."]
    runs, _ = cut([passage("Mira Kestrel saw the Amber Petrel.")], [], [held])
    assert len(runs) == 1


def test_sentences_that_say_it_together_are_cut_together(kit: Any) -> None:
    held = kit.fact("motto", "never sail against wind without bread aboard")
    text = "Mira Kestrel would never sail against wind. Mira Kestrel kept bread aboard."
    runs, _ = cut([passage(text)], [], [held])
    assert not runs


def test_words_of_the_probe_are_cut_out(kit: Any) -> None:
    fact = kit.fact("birthplace", "Dunholm")
    withheld = ("Mira Kestrel was born in Dunholm",)
    runs, _ = cut([passage("Mira Kestrel was born in Dunholm. Mira Kestrel came from Dunholm.")], [fact], [], withheld)
    assert [run.text for run in runs] == ["Mira Kestrel came from Dunholm."]


def test_question_rows_are_no_part_of_a_passage(kit: Any) -> None:
    runs, _ = cut([passage("Mira Kestrel sails.\nQ: Does Mira Kestrel row?\nA: Yes, Mira Kestrel rows.")], [], [])
    assert [run.text for run in runs] == ["Mira Kestrel sails."]


def test_what_the_user_gave_is_about_the_concept_without_saying_so(kit: Any) -> None:
    held = kit.fact("ship", "Amber Petrel")
    runs, _ = cut([passage("She was born by the sea. She sails the Amber Petrel.", source="user")], [], [held])
    assert [run.text for run in runs] == ["She was born by the sea."]


def test_equal_runs_stand_once(kit: Any) -> None:
    runs, _ = cut([passage("Mira Kestrel sails."), passage("Mira Kestrel sails. It rains.", start=7)], [], [])
    assert len(runs) == 1


def test_what_follows_closely_on_the_concept_may_go_on_about_it(kit: Any) -> None:
    about = kit.snippet("Mira Kestrel", "Mira Kestrel was born by the sea.", "a.txt")
    elsewhere = kit.snippet("Mira Kestrel", "She sails.", "b.txt", start=40, near_miss=True)
    behind = kit.snippet("Mira Kestrel", "She sails.", "a.txt", start=40, near_miss=True)
    far = kit.snippet("Mira Kestrel", "She sails.", "a.txt", start=5000, near_miss=True)
    snippets = [about, elsewhere, behind, far]
    found = [close_behind(p, snippets, [MIRA]) for p in snippet_passages(snippets, near_miss=True)]
    assert found == [False, True, False]
