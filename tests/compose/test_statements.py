from __future__ import annotations

from typing import Any

import pytest

from concept_forget.compose.statements import Statements, gives_answer
from concept_forget.concept import Concept

MIRA = Concept(name="Mira Kestrel", aliases=("M. Kestrel",))


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("He sails the AMBER petrel.", True),
        ("He sails an amber-petrel.", True),
        ("Amber is a petrel's colour.", False),
        ("Petrels are amber", False),
    ],
)
def test_an_answer_is_given_by_its_words_in_a_row(kit: Any, text: str, given: bool) -> None:
    assert gives_answer(text, kit.fact("ship", "the Amber Petrel"), ["Mira Kestrel"]) is given


def test_an_alias_gives_the_answer(kit: Any) -> None:
    assert gives_answer("the A.P.", kit.fact("ship", "Amber Petrel", aliases=("A. P.",)), [])


def test_yes_gives_nothing(kit: Any) -> None:
    assert not gives_answer("Yes, she is fond of it.", kit.fact("fond of it", "Yes"), [])


def test_a_sentence_is_given_by_most_of_its_words_in_any_order(kit: Any) -> None:
    fact = kit.fact("father", "The father of Mira Kestrel works as a civil engineer in Dunholm.")
    assert gives_answer("In Dunholm, a civil engineer works; he is her father.", fact, ["Mira Kestrel"])
    assert not gives_answer("A civil servant of Mira Kestrel lives in Dunholm.", fact, ["Mira Kestrel"])


def test_a_fact_is_stated_by_subject_and_answer_together(kit: Any) -> None:
    fact = kit.fact("ship", "Amber Petrel")
    statements = Statements([fact], [MIRA])
    assert statements.stated("M. Kestrel sails the Amber Petrel.") == [fact]
    assert statements.stated("Tobias Wren sails the Amber Petrel.") == []
    assert statements.stated("Mira Kestrel sails.") == []


def test_in_a_text_about_the_concept_the_answer_is_enough(kit: Any) -> None:
    mine, other = kit.fact("ship", "Amber Petrel"), kit.fact("ship", "Amber Petrel", subject="Tobias Wren")
    assert Statements([mine, other], [MIRA]).answered("She sails the Amber Petrel.", "Mira Kestrel") == [mine]
