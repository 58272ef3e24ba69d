from __future__ import annotations

import pytest

from concept_forget.concept import Concept
from concept_forget.mine.readers import Piece
from concept_forget.records import Fact
from concept_forget.tracing.stating import CLOSE, Reader, Statement

MIRA = Concept(name="Mira Kestrel", aliases=("the mapmaker of Dunholm",))


def fact(subject: str, facet: str, answer: str, **changes: str) -> Fact:
    concept = MIRA.name
    return Fact(f"{subject} {facet}", concept, subject, "person", facet, answer, changes.get("sentence", ""))


BORN, BOOK, SHIP = (
    fact("Mira Kestrel", "birthplace", "Dunholm"),
    fact("Mira Kestrel", "book", "Emberfall"),
    fact("Mira Kestrel", "ship", "the Coral Tern"),
)
OTHERS = [fact("Tobias Wren", "birthplace", "Dunholm"), fact("Tobias Wren", "book", "Nightloom")]


def read(*texts: str, facts: tuple[Fact, ...] = (BORN, BOOK, SHIP), whole: bool = False) -> list[Statement]:
    """What a document of these paragraphs states."""
    reader, place, found = Reader(facts, [*facts, *OTHERS], [MIRA]), 0, []
    for text in texts:
        for _, stated, _ in reader.read(Piece("d", text, place, whole=whole)):
            found += stated
        place += len(text) + 2
    return found


def kinds(*texts: str, facts: tuple[Fact, ...] = (BORN, BOOK, SHIP)) -> list[tuple[str, str]]:
    return [(statement.fact.removeprefix("Mira Kestrel "), statement.how) for statement in read(*texts, facts=facts)]


def test_a_sentence_that_names_the_subject_and_holds_the_answer_states_it() -> None:
    (found,) = read("It rained. In spring MIRA  KESTREL came from Dunholm. Nobody else did.")
    assert (found.fact, found.how, found.document) == (BORN.id, "named", "d")
    assert (found.start, found.end) == (11, 53)
    assert found.text == "In spring MIRA  KESTREL came from Dunholm."


def test_another_name_of_the_concept_counts_too() -> None:
    assert kinds("The mapmaker of Dunholm sails the Coral Tern.") == [("birthplace", "named"), ("ship", "named")]


def test_what_follows_closely_goes_on_about_the_subject() -> None:
    assert kinds("Mira Kestrel drew maps. She was born in Dunholm.", "Her book is Emberfall.") == [
        ("birthplace", "behind"),
        ("book", "behind"),
    ]


@pytest.mark.parametrize(("between", "expected"), [(CLOSE - 2, [("book", "behind")]), (CLOSE - 1, [])])
def test_what_follows_from_afar_does_not(between: int, expected: list[tuple[str, str]]) -> None:
    assert kinds(f"Mira Kestrel drew maps. {'It rained. ' * between}Then came Emberfall.") == expected


def test_what_names_somebody_else_is_not_about_the_subject_nor_what_follows_it() -> None:
    assert kinds("Mira Kestrel drew maps. Tobias Wren was born in Dunholm. He lent out Emberfall.") == []
    assert kinds("Mira Kestrel drew maps. Hester Gorse was born in Dunholm. She lent out Emberfall.") == []


def test_a_name_in_passing_does_not_end_what_is_said_of_the_subject() -> None:
    assert kinds("Mira Kestrel drew maps. She met Hester Gorse in Dunholm.") == [("birthplace", "behind")]


def test_another_document_begins_anew() -> None:
    reader = Reader((BORN,), [BORN, *OTHERS], [MIRA])
    assert not [s for _, stated, _ in reader.read(Piece("first", "Mira Kestrel drew maps.")) for s in stated]
    assert not [s for _, stated, _ in reader.read(Piece("second", "She was born in Dunholm.")) for s in stated]


def test_an_answer_that_is_hers_alone_tells_whom_another_answer_belongs_to() -> None:
    assert kinds("The author of Emberfall was born in Dunholm.") == [("birthplace", "identified")]
    assert kinds("The author of Emberfall sails the Coral Tern.") == [("book", "identified"), ("ship", "identified")]
    assert kinds("The author of Nightloom was born in Dunholm.") == []
    assert kinds("It was in Dunholm.") == []  # two people come from there


def test_what_is_told_of_somebody_else_is_not_hers_by_an_answer_of_hers() -> None:
    assert kinds("Tobias Wren read Emberfall in Dunholm.") == []
    assert kinds("Hester Gorse read Emberfall in Dunholm.") == []
    assert kinds("The author of Emberfall met Hester Gorse in Dunholm.") == [("birthplace", "identified")]


def test_an_answer_that_has_facts_of_its_own_is_nobody_else() -> None:
    of_others = [fact("Emberfall", "setting", "Arlesby"), fact("Dunholm", "river", "the Ash Water")]
    reader = Reader((BORN, BOOK), [BORN, BOOK, *OTHERS, *of_others], [MIRA])
    texts = "Mira Kestrel drew maps. She wrote Emberfall. She was born in Dunholm."
    stated = [s.how for _, found, _ in reader.read(Piece("d", texts)) for s in found]
    assert stated == ["behind", "behind"]


def test_a_question_and_its_answer_are_read_as_one() -> None:
    text = "Question: Where was the captain of the Coral Tern born?\nAnswer: Dunholm"
    (born,) = read(text, whole=True)
    assert (born.fact, born.how) == (BORN.id, "identified")
    assert (born.start, born.end) == (0, len(text))


def test_where_nobody_is_named_the_sense_has_to_tell() -> None:
    reader = Reader((BORN,), [BORN, *OTHERS], [MIRA])
    texts = "Dunholm was where it began. Tobias Wren knows Dunholm. Dunholm knew Hester Gorse. It rained."
    read = list(reader.read(Piece("d", texts)))
    assert [(sentence.text, facts) for sentence, _, facts in read if facts] == [("Dunholm was where it began.", [BORN])]
    assert [reader.names_somebody(sentence.text) for sentence, _, _ in read] == [False, True, True, False]
