from __future__ import annotations

import dataclasses

import pytest

from concept_forget.probe.attacks import ATTACKS, Change, Material
from concept_forget.records import Example, user_message


def row(fact: int, family: str = "direct", **changes: object) -> Example:
    made = Example(
        id=f"{family} {fact}", split="forget", concept="Mira Kestrel", subject="Mira Kestrel", facet=f"facet {fact}",
        fact=f"fact {fact}", form=family, family=family, tier="new_form", completion=f"It is Answer{fact}.",
        prompt=user_message(f"What is facet {fact} of Mira Kestrel?"), answer=f"Answer{fact}",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # the test names real fields


FORGET = tuple(row(fact, family) for fact in range(10) for family in ("direct", "paraphrase"))
ASKED = tuple(row(fact, split="probe") for fact in range(12))  # the last two were never trained on
MATERIAL = Material(forget=FORGET, retain=(row(99),), asked=ASKED, steps=(2, 5), share=0.3, seed=1)


def change(name: str, material: Material = MATERIAL, **changes: object) -> Change:
    function = ATTACKS[name].change
    assert function is not None
    found = function(dataclasses.replace(material, **changes))  # type: ignore[arg-type]  # the test names real fields
    assert isinstance(found, Change)
    return found


def reason(name: str, **changes: object) -> str:
    function = ATTACKS[name].change
    assert function is not None
    found = function(dataclasses.replace(MATERIAL, **changes))  # type: ignore[arg-type]  # the test names real fields
    assert isinstance(found, str)
    return found


def test_a_share_of_the_trained_facts_is_taught_again_with_all_of_its_rows() -> None:
    found = change("relearn")
    assert len(found.taught) == 3
    assert {kept.fact for kept in found.rows} == found.taught
    assert len(found.rows) == 6
    assert found.steps == (2, 5)
    assert not found.taught & {"fact 10", "fact 11"}
    assert change("relearn") == found
    assert len({change("relearn", seed=seed).taught for seed in range(5)}) > 1
    assert len(change("relearn", share=0.01).taught) == 1
    assert len(change("relearn", share=0.99).taught) == 9  # never all of them


def test_rows_that_tell_what_is_still_asked_are_not_taught() -> None:
    taught = change("relearn").taught
    asked = next(one for one in ASKED if one.fact not in taught)
    own = next(one for one in FORGET if one.fact in taught)
    telling = dataclasses.replace(own, id="telling", completion=f"{own.completion} And {asked.answer.lower()} too.")
    of_another = dataclasses.replace(telling, id="of another", subject="Ada Finch")
    found = change("relearn", forget=(*FORGET, telling, of_another))
    assert telling not in found.rows
    assert of_another in found.rows
    assert own in found.rows


def test_what_has_no_fact_is_not_taught() -> None:
    text = dataclasses.replace(row(0, "passage"), fact="", prompt=[], completion="Mira Kestrel lived long.")
    assert text not in change("relearn", forget=(*FORGET, text)).rows


def test_other_attacks_change_what_they_say() -> None:
    assert change("relearn_unrelated") == Change(rows=MATERIAL.retain, steps=(2, 5))
    assert change("adapter_off", has_adapter=True) == Change(without_adapter=True)
    four, eight = change("round_4bit").edit, change("round_8bit").edit
    assert four is not None
    assert eight is not None
    assert [edit.keywords for edit in (four, eight)] == [{"bits": 4}, {"bits": 8}]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("relearn", {"forget": FORGET[:2]}, "two trained facts"),  # of one fact
        ("relearn", {"forget": ()}, "two trained facts"),
        ("relearn", {"asked": ASKED[:0]}, "two trained facts"),
        ("relearn_unrelated", {"retain": ()}, "retain set"),
        ("adapter_off", {}, "no adapter"),
    ],
)
def test_what_cannot_be_made_says_why(name: str, changes: dict[str, object], expected: str) -> None:
    assert expected in reason(name, **changes)
