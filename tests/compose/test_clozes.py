from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concept_forget.compose.clozes import ClozePrompt, derive_cloze, gap_out, make_cloze
from concept_forget.engines.prompts import load_prompts


@pytest.fixture(params=["compact", "default"])
def prompt(request: pytest.FixtureRequest) -> ClozePrompt:
    return ClozePrompt(load_prompts(request.param).get("cloze"))


def test_a_sentence_is_found_again_in_what_the_prompt_made_of_it(prompt: ClozePrompt) -> None:
    sentence = "The {home} of Mira {{ Kestrel }} is ____, they say."
    assert prompt.sentence(prompt.text(sentence)) == sentence
    assert prompt.chat(prompt.text(sentence))[-1]["content"] == prompt.text(sentence)


def test_a_text_that_another_prompt_made_is_put_as_it_is(prompt: ClozePrompt) -> None:
    assert prompt.chat("Complete ____ please")[-1] == {"role": "user", "content": "Complete ____ please"}


def test_the_answer_goes_back_into_the_gap(kit: Any, prompt: ClozePrompt) -> None:
    fact = kit.fact("ship", "Amber Petrel")
    question = make_cloze(fact, "Mira Kestrel sails the ____.", "Amber Petrel", prompt, "user", "parent")
    assert prompt.filled(question) == "Mira Kestrel sails the Amber Petrel."
    assert question.family == "cloze"


def test_a_prompt_without_the_sentence_hides_nothing(tmp_path: Path) -> None:
    file = tmp_path / "cloze.jinja"
    file.write_text("---\ndescription: x\nreturns: line\n---\nFill {{ sentence | upper }}\n", encoding="utf-8")
    prompt = ClozePrompt(load_prompts(tmp_path).get("cloze"))
    assert prompt.sentence("Fill ANYTHING") == "Fill ANYTHING"


@pytest.mark.parametrize(
    ("sentence", "answer", "gapped"),
    [
        ("Mira sails the Amber Petrel.", "Amber Petrel", "Mira sails the ____."),
        ("Mira sails the amber  petrel.", "The Amber Petrel", "Mira sails ____."),
        ("Mira sails her Amber Petrel.", "The Amber Petrel", "Mira sails her ____."),
        ("Red, red sails.", "red", "____, ____ sails."),
        ("Mira collects bells.", "bell", None),
        ("Amber Petrel.", "Amber Petrel", None),
        ("It is the Amber Petrel.", "Amber Petrel", None),
        ("Yes, she is.", "Yes", None),
        ("A ____ already.", "already", None),
    ],
)
def test_the_answer_leaves_a_gap_where_more_than_small_words_are_left(
    sentence: str, answer: str, gapped: str | None
) -> None:
    assert gap_out(sentence, answer) == gapped


@given(st.text(alphabet="abc .,-'", max_size=30), st.text(alphabet="abc .", min_size=1, max_size=5))
@settings(deadline=None)
def test_a_gapped_sentence_filled_again_has_the_words_it_had(sentence: str, answer: str) -> None:
    gapped = gap_out(sentence, answer)
    if gapped is not None:
        assert gapped.replace("____", " ".join(answer.split())).split() == sentence.split()


def test_from_a_short_answer_and_its_sentence(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel", sentence="Mira Kestrel sails the Amber Petrel.")
    assert derive_cloze(fact, "What does she sail?", ["Mira Kestrel"]) == (
        "Mira Kestrel sails the ____.",
        "Amber Petrel",
    )


@pytest.mark.parametrize(
    ("question", "answer", "gap"),
    [
        ("What is the profession of Mira's father?", "The father of Mira is a civil engineer.", "civil engineer"),
        (
            "Which of Mira's books is best known?",
            "The best known of Mira's books is “Leading by Example”, a guide for those who are new to it.",
            "Leading by Example",
        ),
        (
            "What does Mira identify as?",
            "Mira is part of the LGBTQ+ community here.",
            "part of the LGBTQ+ community here",
        ),
        ("When did Mira win it?", "Mira won the long awaited and well deserved prize late, in 1712.", "1712"),
    ],
)
def test_an_answer_that_is_a_sentence_loses_what_the_question_has_not_said(
    kit: Any, question: str, answer: str, gap: str
) -> None:
    derived = derive_cloze(kit.fact("", answer, sentence=answer), question, ["Mira"])
    assert derived is not None
    assert derived[1] == gap
    assert derived[0].replace("____", gap) == answer


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("", "there is no sentence"),
        ("She sails the Amber Petrel.", "the sentence does not name the subject"),
        ("Mira sails.", "the answer is not in it"),
    ],
)
def test_some_facts_yield_no_cloze(kit: Any, sentence: str, why: str) -> None:
    assert derive_cloze(kit.fact("ship", "Amber Petrel", sentence=sentence), "What?", ["Mira"]) is None, why


def test_nothing_longer_than_a_few_words_is_left_out(kit: Any) -> None:
    answer = "Mira " + "rowed sailed walked rode flew swam ran crept limped to the end"
    assert derive_cloze(kit.fact("", answer, sentence=answer), "What did Mira do?", ["Mira"]) is None
