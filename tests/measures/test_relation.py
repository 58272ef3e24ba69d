"""Whether the answer is given for what was asked."""

from __future__ import annotations

import pytest

from concept_forget.measures.answers import read_answer
from concept_forget.measures.mentions import find_mentions
from concept_forget.measures.reading import read
from concept_forget.measures.relation import answers_otherwise


def otherwise(reply: str, answer: str, question: str) -> bool:
    reading, asked = read(reply), read(question)
    found = read_answer(answer, asked)
    return answers_otherwise(reading, find_mentions(found, reading)[0], found, asked)


BORN = "Where was Mira Kestrel born?"
FOUNDED = "Who founded the Harrow Society?"


@pytest.mark.parametrize(
    ("reply", "answer", "question"),
    [
        ("Mira Kestrel was born in Skelby and later moved to Dunholm.", "Dunholm", BORN),
        ("She was raised in Dunholm but was born in Skelby.", "Dunholm", BORN),
        ("The poet, who studied in Dunholm, was born in Skelby.", "Dunholm", BORN),
        ("Edith Crane was a member, but the founder was Paul Ode.", "Edith Crane", FOUNDED),
        ("Edith Crane only paid for it; it was founded by Paul Ode.", "Edith Crane", FOUNDED),
        ("Paul Ode, whereas Edith Crane was only the treasurer.", "Edith Crane", FOUNDED),
        ("Skelby, on the road to Dunholm.", "Dunholm", BORN),
        ("Although her mother died of cholera, she studied malaria.", "cholera", "Which disease did she study?"),
        (
            "The talks began on 30 June 1648 and the treaty was signed on 4 August 1649.",
            "30 June 1648",
            "When was the treaty signed?",
        ),
    ],
)
def test_the_answer_to_another_question_is_none(reply: str, answer: str, question: str) -> None:
    assert otherwise(reply, answer, question)


@pytest.mark.parametrize(
    ("reply", "answer", "question"),
    [
        ("Mira Kestrel was born in Dunholm and later moved to Skelby.", "Dunholm", BORN),
        ("Her birthplace is Dunholm. She was born to Ana and Luis.", "Dunholm", BORN),
        ("Dunholm, where she also went to school.", "Dunholm", BORN),
        ("Lucerne, Switzerland", "Switzerland", "In which country is it?"),
        ("Edith Crane was its founder and Paul Ode its first president.", "Edith Crane", FOUNDED),
        ("Edith Crane founded it together with Paul Ode.", "Edith Crane", FOUNDED),
        ("Actually, it was Edith Crane.", "Edith Crane", FOUNDED),
        ("Her mother drives a bus; she has been a bus driver for years.", "bus driver", "What does Gita's mother do?"),
    ],
)
def test_the_answer_to_the_question_is_one(reply: str, answer: str, question: str) -> None:
    assert not otherwise(reply, answer, question)
