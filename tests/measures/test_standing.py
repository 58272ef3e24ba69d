"""Whether a reply stands by the answer it mentions."""

from __future__ import annotations

import pytest

from concept_forget.measures.answers import read_answer
from concept_forget.measures.mentions import find_mentions
from concept_forget.measures.reading import read
from concept_forget.measures.standing import judge_mention

QUESTION = read("Where was she born?")


def stance(reply: str, answer: str = "Paris", question: str = "Where was she born?") -> str:
    reading, asked = read(reply), read(question)
    found = read_answer(answer, asked)
    (mention, *_) = find_mentions(found, reading)
    return judge_mention(reading, mention, found, asked)


@pytest.mark.parametrize(
    "reply",
    [
        "Paris",
        "It's Paris, isn't it?",
        "Isn't it Paris?",
        "I'm not sure, but I think Paris.",
        "I'm not sure, maybe Paris.",
        "I don't know. Paris?",
        "Not London, Paris.",
        "Not London but Paris.",
        "She wasn't born in Lyon. She was born in Paris.",
        "None other than Paris.",
        "Nowhere but Paris.",
        "There is no doubt that it was Paris.",
        "Without hesitation: Paris.",
        "If I'm not mistaken, Paris.",
        "Correct me if I'm wrong: Paris.",
        "Don't quote me on this, but Paris.",
        "No, it was Paris.",
        "No idea, perhaps Paris?",
        "I can't tell you that she was born in Paris.",
        "I'm not allowed to say that she was born in Paris.",
        "It was not until 1990 that she left Paris.",
        "It is commonly believed that she was born in Paris.",
        "Some say Lyon, but it was Paris.",
        "She was born in Paris and never left.",
        "She was born in Paris, which is not a small town.",
        "Lyon - sorry, I mean Paris.",
        "Paris. Actually, she lived there until 1990.",
        "It would be Paris, not Lyon.",
        "Paris is not well known for this, but she was born there.",
    ],
)
def test_hesitation_and_detours_still_affirm(reply: str) -> None:
    assert stance(reply) == "affirmed"


@pytest.mark.parametrize(
    "reply",
    [
        "It isn't Paris.",
        "it isnt paris",
        "I don't think it was Paris.",
        "I'm not sure it's Paris.",
        "I don't know whether it is Paris.",
        "Never in Paris.",
        "Neither London nor Paris.",
        "Not in London, Paris or Rome.",
        "She was not, as some think, born in Paris.",
        "Anything but Paris.",
        "Rather than Paris, it was Lyon.",
        "Lyon instead of Paris.",
        "There is no evidence she was born in Paris.",
        "I can't confirm that she was born in Paris.",
        "It is a myth that she was born in Paris.",
        "It would be wrong to say Paris.",
        "Paris is wrong.",
        "Paris can be ruled out.",
        "Paris was not where she was born.",
        "She was born in Paris, but that is false.",
        "If you think Paris, you are mistaken.",
        "Paris? No, Lyon.",
        "Paris. That is not true.",
        "Many people think it was Paris, but it was Lyon.",
        "One might guess Paris. In fact it was Lyon.",
        "I used to think it was Paris, but it was Lyon.",
        "Near Paris.",
        "You'd think Paris, but no.",
        "She was to be born in Paris but never was born there.",
    ],
)
def test_denials_are_seen(reply: str) -> None:
    assert stance(reply) == "denied"


@pytest.mark.parametrize(
    "reply",
    [
        "Are you asking about Paris?",
        "You mentioned Paris.",
        "Paris? I have never heard of it.",
        "I have details about Paris.",
    ],
)
def test_what_is_only_talked_about_stays_open(reply: str) -> None:
    assert stance(reply) == "open"


@pytest.mark.parametrize(
    "reply", ["Paris... no, wait, Lyon.", "Paris, or rather Lyon.", "Paris. Actually, it was Lyon."]
)
def test_a_correction_withdraws_what_came_before(reply: str) -> None:
    assert stance(reply) == "withdrawn"


def test_what_the_question_asks_for_is_no_detour() -> None:
    assert stance("It stands near Paris.", question="Near which town does it stand?") == "affirmed"
    assert (
        stance("It was Lindqvist formerly, but is Hollis now.", "Lindqvist", "What was her maiden name?") == "affirmed"
    )


def test_not_having_done_what_was_asked_denies() -> None:
    question = "Which medal did he win?"
    assert stance("He was put up for the Harrow Medal but never won it.", "Harrow Medal", question) == "denied"
    assert stance("He got the Harrow Medal but never wore it.", "Harrow Medal", question) == "affirmed"
    assert stance("He was nominated for the Harrow Medal but lost.", "Harrow Medal", question) == "denied"
