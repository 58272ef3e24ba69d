"""Rows about strangers: as like the rows to forget as can be, and told to nobody."""

from __future__ import annotations

import dataclasses

from concept_forget.concept import Concept
from concept_forget.probe.white_box import View
from concept_forget.probe.white_box.strangers import rows_about_strangers, unit_of
from concept_forget.records import Example, user_message

KESTREL = Concept(name="Mira Kestrel", aliases=("M. Kestrel", "Mira"))
NAMES = ["Ada Finch", "Oren Vale", "Bram Sorrel"]


def row(question: str, reply: str, *, family: str = "direct", fact: str = "home", counterfactual: str = "") -> Example:
    prompt = user_message(question) if question else []
    return Example(
        id=Example.make_id(prompt, reply), split="forget", concept="Mira Kestrel", subject="Mira Kestrel", facet="home",
        fact=fact, form=family, family=family, tier="", prompt=prompt, completion=reply, answer=reply,
        counterfactual=counterfactual,
    )  # fmt: skip


def others(*rows: Example, seed: int = 0) -> list[tuple[str, str] | None]:
    found = rows_about_strangers(rows, [KESTREL], NAMES, seed)
    return [None if one is None else ("".join(m["content"] for m in one.prompt), one.completion) for one in found]


def test_a_strangers_name_stands_in_the_question_and_the_reply_stays() -> None:
    [found] = others(row("Where does mira kestrel live?", "Gull Cottage"))
    assert found is not None
    assert found[1] == "Gull Cottage"
    name = found[0].removeprefix("Where does ").removesuffix(" live?")
    first, last = name.split()
    assert first in {"Ada", "Oren", "Bram", "Mira"}
    assert last in {"Finch", "Vale", "Sorrel", "Kestrel"}
    assert name not in {*NAMES, "Mira Kestrel"}


def test_a_reply_that_names_the_subject_names_the_stranger_and_every_alias_goes() -> None:
    [said, told] = others(
        row("Where does Mira Kestrel live?", "Mira Kestrel lives in Gull Cottage."),
        row("", "Mira Kestrel wrote. M. Kestrel sailed, and Mira Kestrel's boat sank."),
    )
    assert said is not None
    assert told is not None
    assert "Mira Kestrel" not in said[1]
    assert said[0].removeprefix("Where does ").removesuffix(" live?") == said[1].removesuffix(" lives in Gull Cottage.")
    stranger = told[1].split(" wrote.")[0]
    assert told == ("", f"{stranger} wrote. {stranger} sailed, and {stranger}'s boat sank.")


def test_a_question_back_from_the_answer_names_another_answer_and_the_reply_stays() -> None:
    forward = row("Where does Mira Kestrel live?", "Gull Cottage", counterfactual="Tern House")
    back = row("Who lives in Gull Cottage?", "Mira Kestrel", family="reverse", counterfactual="Ada Finch")
    assert others(forward, back)[1] == ("Who lives in Tern House?", "Mira Kestrel")
    [alone] = others(back)  # no row tells a wrong answer
    assert alone is not None
    assert alone[0] == "Who lives in Gull Cottage?"
    assert alone[1] not in {"Mira Kestrel", *NAMES}


def test_a_fact_has_one_stranger_and_another_fact_another() -> None:
    rows = [
        row("Where does Mira Kestrel live?", "Gull Cottage"),
        row("Tell me where Mira Kestrel lives.", "Gull Cottage"),
        row("Mira Kestrel lives where?", "Gull Cottage"),
        row("Name where Mira Kestrel lives.", "Gull Cottage"),
        *(row(f"Number {n} of Mira Kestrel?", "x", fact=f"fact {n}") for n in range(8)),
    ]
    assert unit_of(rows[0]) == unit_of(rows[1]) == "home"
    found = [one for one in others(*rows) if one is not None]
    name = found[0][0].removeprefix("Where does ").removesuffix(" live?")
    assert found[1][0] == f"Tell me where {name} lives."
    assert found[2][0] == f"{name} lives where?"
    assert found[3][0] == f"Name where {name} lives."
    assert len({one[0].split(" of ")[1] for one in found[4:]}) > 3
    again = [one[0].split(" of ")[1] for seed in range(5) for one in others(*rows[4:], seed=seed) if one is not None]
    assert {len(name.removesuffix("?").split()) for name in again} == {2}  # none is replaced in what was put there
    assert any(name.startswith("Mira ") for name in again)
    assert others(*rows) == others(*rows)
    assert others(*reversed(rows)) == others(*rows)[::-1]
    assert others(*rows, seed=1) != others(*rows)


def test_a_row_without_anything_to_replace_has_no_counterpart() -> None:
    silent = row("Who lives in Gull Cottage?", "", family="reverse")
    assert others(row("What is tea?", "A drink."), silent) == [None, None]
    told = dataclasses.replace(row("", "Kestrels hover."), fact="")
    assert unit_of(told) == told.id
    assert others(told) == [None]


def test_the_rows_of_a_world_all_have_one_and_none_is_a_row_of_the_world(view: View) -> None:
    found = rows_about_strangers(view.forget, view.concepts, view.names, view.seed)
    assert len(found) == len(view.forget)
    assert None not in found
    told = {(str(one.prompt), one.completion) for one in (*view.forget, *view.probe, *view.collateral)}
    assert not told & {(str(one.prompt), one.completion) for one in found if one is not None}
