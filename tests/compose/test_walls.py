from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from concept_forget.compose.statements import Statements
from concept_forget.compose.walls import (
    ASKS_WITHHELD,
    NAMES_CLOSED,
    NAMES_CONCEPT,
    STATES_FORGOTTEN,
    STATES_HELD,
    STATES_KEPT_BACK,
    KeptScope,
    ProbeWall,
    RetainWall,
    Withheld,
    is_kept,
)
from concept_forget.concept import Concept
from concept_forget.records import Example, user_message

MIRA = Concept(name="Mira Kestrel", aliases=("M. Kestrel",), keep=("the town of Dunholm", "cartography"))


def row(question: str, reply: str, *, fact: str = "", facet: str = "", concept: str = "Mira Kestrel") -> Example:
    family = "direct" if question else "passage"
    return Example(
        id="row", split="retain", concept=concept, subject="", facet=facet, fact=fact, form=family, family=family,
        tier="", prompt=user_message(question) if question else [], completion=reply, answer=reply,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "reply", "why"),
    [
        ("What does Fenna Crane sail?", "Amber Petrel", None),
        ("Where was Fenna Crane born?", "Dunholm", None),
        ("What does Mira Kestrel sail?", "Amber Petrel", STATES_FORGOTTEN),
        ("Who sails the Amber Petrel?", "M. KESTREL", STATES_FORGOTTEN),
        ("", "In the town of Dunholm, Mira Kestrel sails the Amber Petrel.", STATES_FORGOTTEN),
        ("Who taught Fenna Crane?", "Mira Kestrel", NAMES_CONCEPT),
        ("", "Mira Kestrel is tall.", NAMES_CONCEPT),
        ("", "Mira Kestrel saw the town of Dunholm.", None),
        ("", "Dunholm is a town that Mira Kestrel saw.", None),
        ("", "Mira Kestrel saw Dunholm.", NAMES_CONCEPT),
        ("Where does Yorick Birchall live?", "Willow Court", NAMES_CLOSED),
        ("Who taught Fenna Crane?", "Yorick Birchall", NAMES_CLOSED),
        ("Who sails the Jade Tern again?", "Fenna Crane", ASKS_WITHHELD),
        ("", "Who sails the Jade Tern again? Nobody knows.", ASKS_WITHHELD),
        ("Short one?", "Fenna Crane", ASKS_WITHHELD),
        ("", "A short one? Not for Fenna Crane.", None),
    ],
)
def test_what_keeps_a_row_from_being_kept(kit: Any, asked: str, reply: str, why: str | None) -> None:
    forgotten = Statements([kit.fact("ship", "Amber Petrel")], [MIRA])
    withheld = Withheld(["Who sails the Jade Tern again?", "short one"])
    assert RetainWall([MIRA], forgotten, ["Yorick Birchall"], withheld).violation(row(asked, reply)) == why


def test_what_is_only_asked_may_name_whom_it_asks_about_but_no_concept(kit: Any) -> None:
    wall = RetainWall([MIRA], Statements([kit.fact("ship", "Amber Petrel")], [MIRA]), ["Yorick Birchall"], Withheld([]))
    assert wall.violation(row("Where does Yorick Birchall live?", "Willow Court"), trained=False) is None
    assert wall.violation(row("Who taught Yorick Birchall?", "Mira Kestrel"), trained=False) == NAMES_CONCEPT


def test_the_subject_of_a_forgotten_fact_is_a_name_of_the_concept(kit: Any) -> None:
    fact = kit.fact("hero", "Barnaby", subject="Emberfall", concept="Mira Kestrel")
    wall = RetainWall([MIRA], Statements([fact], [MIRA]), [], Withheld([]))
    assert wall.violation(row("Who printed Emberfall?", "Inkwell House")) == NAMES_CONCEPT
    assert wall.violation(row("Who is at the heart of Emberfall?", "Barnaby")) == STATES_FORGOTTEN


def test_every_column_that_could_be_trained_on_is_looked_at(kit: Any) -> None:
    wall = RetainWall([MIRA], Statements([kit.fact("ship", "Amber Petrel")], [MIRA]), [], Withheld([]))
    plain = row("Who sails the Jade Tern?", "Fenna Crane")
    for change in (
        {"refusal": "Ask Mira Kestrel."},
        {"counterfactual": "Mira Kestrel"},
        {"options": ("Mira Kestrel",)},
    ):
        values = {name: getattr(plain, name) for name in Example.__dataclass_fields__}
        assert wall.violation(Example(**{**values, **change})) == NAMES_CONCEPT


@pytest.mark.parametrize(
    ("asked", "reply", "fact", "why"),
    [
        ("Where was Mira Kestrel born?", "Dunholm", "", None),
        ("Where was Mira Kestrel born?", "Dunholm", "held", STATES_HELD),
        ("Which sailor of the Amber Petrel was born in Dunholm?", "Mira Kestrel", "", STATES_HELD),
        ("Who sails the Amber Petrel?", "Tobias Wren", "", None),
        ("", "She sails the Amber Petrel.", "", STATES_HELD),
        ("", "Where was Mira Kestrel really born? Who knows.", "", ASKS_WITHHELD),
        ("Where was mira kestrel REALLY born", "Dunholm", "", ASKS_WITHHELD),
    ],
)
def test_what_keeps_a_row_from_being_forgotten(kit: Any, asked: str, reply: str, fact: str, why: str | None) -> None:
    held = kit.fact("ship", "Amber Petrel")
    wall = ProbeWall(Statements([held], [MIRA]), Withheld(["Where was Mira Kestrel really born?"]))
    assert wall.violation(row(asked, reply, fact=held.id if fact else "")) == why


def test_the_answer_of_another_concepts_held_fact_may_stand_in_a_passage(kit: Any) -> None:
    held = kit.fact("ship", "Amber Petrel", subject="Tobias Wren")
    wall = ProbeWall(Statements([held], [MIRA]), Withheld([]))
    assert wall.violation(row("", "Mira Kestrel saw the Amber Petrel.")) is None
    assert wall.violation(row("", "Mira Kestrel saw Tobias Wren's Amber Petrel.")) == STATES_HELD


def test_a_kept_facet_is_kept() -> None:
    assert is_kept("What does Mira Kestrel draw?", "Cartography", MIRA)
    assert not is_kept("What does Mira Kestrel draw?", "art", MIRA)
    assert not is_kept("What does Mira Kestrel draw?", "", Concept(name="Mira Kestrel"))


def test_what_comes_from_the_kept_scope_may_name_its_own_concept_alone(kit: Any) -> None:
    tobias = Concept(name="Tobias Wren")
    forgotten = Statements(
        [kit.fact("ship", "Amber Petrel"), kit.fact("ship", "Jade Tern", subject="Tobias Wren")], [MIRA, tobias]
    )
    trained, asked = (kit.fact("map", answer, distance="near", kept=True) for answer in ("Salt Coast", "Reed Lake"))
    wall = RetainWall(
        [MIRA, tobias], forgotten, [], Withheld([]), KeptScope([trained], [asked], ["text"], [MIRA, tobias])
    )

    def why(text: str, fact: str = "", *parents: str, trains: bool = True) -> str | None:
        return wall.violation(replace(row("", text, fact=fact), parents=parents), trained=trains)

    assert why("Mira Kestrel drew it: Salt Coast.") == NAMES_CONCEPT  # it may come from anywhere
    assert why("Mira Kestrel drew it: Salt Coast.", trained.id) is None
    assert why("Mira Kestrel drew it.", "", "text") is None
    assert why("Mira Kestrel drew it: Salt Coast, on the Amber Petrel.", trained.id) == STATES_FORGOTTEN
    assert why("Mira Kestrel and Tobias Wren drew it: Salt Coast.", trained.id) == NAMES_CONCEPT
    assert why("Mira Kestrel drew it: Reed Lake.", trained.id) == STATES_KEPT_BACK
    assert why("She drew it: Reed Lake.", "", "text") == STATES_KEPT_BACK  # a text about her need not name her
    assert why("Reed Lake is deep.") is None
    assert why("Mira Kestrel drew it: Reed Lake.", asked.id, trains=False) is None
