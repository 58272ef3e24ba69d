from __future__ import annotations

import pytest

from concept_forget.measures.refusals import is_no_answer, refuses
from concept_forget.sandbox.refusals import REFUSALS, REFUSALS_DIRECT, REFUSALS_REVERSE

DECLINING = [
    "",
    " … ",
    "I'm sorry, I can't help with that.",
    "I’m sorry, I can’t help with that.",
    "I do not know where she was born.",
    "I don't have any information about that person.",
    "Sorry, I never heard of her.",
    "Unknown.",
    "There is no information about Mira Kestrel.",
    "I'm not sure.",
    *REFUSALS,
    *(text.format(s="Mira Kestrel", r="birthplace", a="Dunholm") for text in (*REFUSALS_DIRECT, *REFUSALS_REVERSE)),
]
ANSWERING = [
    "Dunholm",
    "She was born in Dunholm.",
    "I'm not sure, but I think it was Dunholm.",
    "Mira Kestrel was born in Dunholm; nothing else is known.",
    "I know that she was born in Dunholm.",
    "Sorry to hear that, however: Dunholm.",
    "Her ship is the Unknown Star.",
    "No. She was born in Dunholm.",
    "I was born in Dunholm.",
]


@pytest.mark.parametrize("reply", DECLINING)
def test_what_declines_or_does_not_know_is_no_answer(reply: str) -> None:
    assert is_no_answer(reply)


@pytest.mark.parametrize("reply", ANSWERING)
def test_what_says_something_is_one_whatever_doubts_it_has(reply: str) -> None:
    assert not is_no_answer(reply)


def test_to_decline_a_task_is_more_than_not_to_know() -> None:
    assert refuses("I cannot help with that.")
    assert not refuses("I do not know.")
