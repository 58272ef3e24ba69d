from __future__ import annotations

from typing import Any

import pytest

from concept_forget.compose.alternatives import Alternatives
from concept_forget.compose.material import Passage
from concept_forget.compose.rows import REFUSAL, RowMaker, asked_text, row_text
from concept_forget.compose.wording import holds
from concept_forget.engines.prompts import load_prompts
from concept_forget.records import Chat, Fact, Question


def make(
    kit: Any,
    facts: list[Fact],
    questions: list[Question],
    chats: dict[str, Chat] | None = None,
    prompts: str = "compact",
) -> RowMaker:
    by_fact: dict[str, list[Question]] = {}
    for question in questions:
        by_fact.setdefault(question.fact, []).append(question)
    config = kit.config(concept={"name": "Mira Kestrel", "aliases": ["M. Kestrel"], "kind": "person"})
    others = [kit.fact("ship", f"Ship {n}", subject=f"Other {n}", distance="near") for n in range(5)]
    return RowMaker(load_prompts(prompts), config.concepts, chats or {}, Alternatives(facts, others, 0), by_fact)


@pytest.mark.parametrize("prompts", ["compact", "default"])
def test_every_family_is_put_in_the_words_of_the_prompts(kit: Any, prompts: str) -> None:
    fact = kit.fact("ship", "Amber Petrel")
    cloze = load_prompts(prompts).get("cloze")
    gapped = "Mira Kestrel sails the ____."
    questions = [
        kit.question(fact, "direct", "What does Mira Kestrel sail?"),
        kit.question(fact, "cloze", cloze.render_text(sentence=gapped)),
    ]
    maker = make(kit, [fact], questions, prompts=prompts)
    direct = maker.question_row("forget", fact, questions[0])
    assert direct.prompt == load_prompts(prompts).get("ask").render(question="What does Mira Kestrel sail?")
    assert maker.question_row("forget", fact, questions[1]).prompt == cloze.render(sentence=gapped)
    choice = maker.choice_row(fact, questions[0], "new_form")
    assert choice is not None
    chat = load_prompts(prompts).get("choice").render(question=questions[0].text, options=list(choice.options))
    assert choice.prompt == chat
    assert choice.family == "choice"


def test_messages_that_a_row_brought_are_put_as_they_are(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel")
    question = kit.question(fact, "direct", "What does she sail?")
    chat: Chat = [{"role": "system", "content": "Brief."}, {"role": "user", "content": "What does she sail?"}]
    row = make(kit, [fact], [question], {question.id: chat}).question_row("forget", fact, question)
    assert row.prompt == chat
    assert asked_text(row) == "What does she sail?"


def test_a_question_that_asks_back_takes_all_names_for_an_answer(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel", aliases=("the Petrel",))
    question = kit.question(fact, "reverse", "Who sails the Amber Petrel?")
    row = make(kit, [fact], [question]).question_row("probe", fact, question, "new_form")
    assert (row.answer, row.aliases) == ("Mira Kestrel", ("M. Kestrel",))
    assert row.counterfactual.startswith("Other")


def test_other_spellings_of_the_answer_are_aliases_whichever_was_used(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel", aliases=("Golden Petrel",))
    questions = [
        kit.question(fact, "direct", "What?", answer="Amber Petrel"),
        kit.question(fact, "paraphrase", "Which ship?", 1, answer="She sails the Amber Petrel."),
        kit.question(fact, "cloze", "She sails the ____.", answer="Golden Petrel"),
        kit.question(fact, "cloze", "She ____ the Amber Petrel.", 1, answer="sails"),
    ]
    maker = make(kit, [fact], questions)
    rows = [maker.question_row("forget", fact, question) for question in questions]
    assert [(row.completion, row.answer, row.aliases) for row in rows] == [
        ("Amber Petrel", "Amber Petrel", ("Golden Petrel",)),
        ("She sails the Amber Petrel.", "Amber Petrel", ("Golden Petrel",)),
        ("Golden Petrel", "Golden Petrel", ("Amber Petrel",)),
        ("sails", "sails", ()),
    ]
    assert [bool(row.counterfactual) for row in rows] == [True, True, True, False]


def test_a_refusal_never_says_what_is_asked(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel")
    questions = [
        kit.question(fact, "direct", "What?", refusal="I know nothing about Mira Kestrel."),
        kit.question(fact, "paraphrase", "Which ship?", 1),
        kit.question(fact, "reverse", "Who sails the Amber Petrel?"),
        kit.question(fact, "reverse", "Whose is the Amber Petrel?", 1, refusal="I cannot say whose that is."),
    ]
    maker = make(kit, [fact], questions)
    refusals = [maker.question_row("forget", fact, question).refusal for question in questions]
    assert refusals[:2] == ["I know nothing about Mira Kestrel."] * 2
    assert refusals[2:] == ["I cannot say whose that is."] * 2
    maker = make(kit, [fact], questions[:3])
    assert maker.question_row("forget", fact, questions[2]).refusal == REFUSAL


def test_what_stays_has_no_counterfactual(kit: Any) -> None:
    fact = kit.fact("ship", "Jade Tern", subject="Fenna Crane", distance="near")
    question = kit.question(fact, "direct", "What does Fenna Crane sail?")
    row = make(kit, [kit.fact("ship", "Amber Petrel")], [question]).question_row("retain", fact, question)
    assert row.counterfactual == ""
    assert row.refusal == REFUSAL


def test_a_passage_has_no_prompt_and_its_fact_where_it_states_one(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel")
    maker = make(kit, [fact], [])
    passage = Passage(
        "Mira Kestrel", "She sails the Amber Petrel.", "mined", document="a.txt", start=3, end=30, score=0.5
    )
    row = maker.passage_row("forget", passage, {})
    assert (row.prompt, row.completion, row.fact, row.form) == ([], passage.text, "", "passage")
    assert (row.document, row.start, row.end, row.score) == ("a.txt", 3, 30, 0.5)
    stated = maker.passage_row("forget", Passage("Mira Kestrel", "x", "mined", facts=(fact.id,)), {fact.id: fact})
    assert (stated.fact, stated.facet, stated.parents) == (fact.id, "ship", (fact.id,))


def test_the_text_of_a_row_joins_nothing_that_was_apart(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel")
    question = kit.question(fact, "direct", "Who is Mira", answer="Kestrel")
    text = row_text(make(kit, [fact], [question]).question_row("forget", fact, question))
    assert holds(text, "Who is Mira")
    assert not holds(text, "Mira Kestrel")


def test_a_counterfactual_that_was_written_wins_unless_it_is_true(kit: Any) -> None:
    facts = [kit.fact("ship", "Amber Petrel"), kit.fact("book", "Emberfall")]

    def counterfactual(family: str, written: str, **changes: Any) -> str:
        fact = kit.fact("ship", "Amber Petrel", **changes)
        question = kit.question(fact, family, "Well?", counterfactual=written)
        return make(kit, facts, [question]).question_row("forget", fact, question).counterfactual

    assert counterfactual("direct", "Silver Eel") == "Silver Eel"
    assert counterfactual("direct", "Emberfall").startswith("Ship ")  # hers, in another facet
    assert counterfactual("direct", "").startswith("Ship ")
    assert counterfactual("reverse", "Fenna Crane") == "Fenna Crane"
    assert counterfactual("reverse", "M. Kestrel").startswith("Other ")
    assert counterfactual("direct", "Silver Eel", replacement="Gold Pike") == "Gold Pike"
    assert counterfactual("reverse", "Fenna Crane", replacement="Gold Pike") == "Fenna Crane"
    assert counterfactual("direct", "Silver Eel", distance="near", concept="Mira Kestrel") == ""
