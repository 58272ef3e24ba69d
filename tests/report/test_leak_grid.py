from __future__ import annotations

import pytest

from concept_forget.records import Attempt, Grade, user_message
from concept_forget.report.leak_grid import MOST_CELLS, MOST_FACTS, build_grid
from concept_forget.report.material import Material
from concept_forget.report.redaction import HIDDEN, Redactor, no_redaction

YES, PART, NO = Grade(1.0, True, "gives it"), Grade(0.5, False, "a part"), Grade(0.0, False, "not found")


def attempt(model: str = "unlearned", **changes: object) -> Attempt:
    values: dict[str, object] = {
        "id": "a", "model": model, "attack": "direct", "family": "asking", "tier": "new_form", "concept": "Mira",
        "subject": "Mira", "fact": "f", "example": "e", "sample": 0, "prompt": user_message("Where?"), "prefill": "",
        "reply": "In Ystrand.", "finish_reason": "stop", "expected": "Ystrand", **changes,
    }  # fmt: skip
    return Attempt(**values)  # type: ignore[arg-type]


def grid_of(*attempts: tuple[Attempt, Grade], budget: int = 10**6):
    facts = [{"id": "f", "concept": "Mira", "facet": "home", "answer": "Ystrand", "aliases": []}]
    return build_grid(Material(attempts=attempts, facts=facts), no_redaction(), budget)


@pytest.mark.parametrize(
    ("unlearned", "reference", "state"),
    [
        ([YES], [NO], "leaks"),
        ([YES, NO], [NO, NO], "some"),
        ([PART], [NO], "part"),
        ([NO, PART], [YES], "part"),
        ([NO], [YES], "kept"),
        ([YES], [YES], "both"),
        ([YES, NO], [YES, YES], "both"),
        ([YES, YES], [YES, NO], "leaks"),
        ([YES], [], "leaks"),
    ],
)
def test_a_cell_says_what_the_replies_came_to(unlearned: list[Grade], reference: list[Grade], state: str) -> None:
    found = [(attempt(), grade) for grade in unlearned] + [(attempt("reference"), grade) for grade in reference]
    row = grid_of(*found).rows[0]
    assert row.cells[0].state == state
    assert row.cells[0].share == pytest.approx(sum(grade.leaked for grade in unlearned) / len(unlearned))
    assert (row.subject, row.facet, row.answer) == ("Mira", "home", "Ystrand")


def test_an_attack_that_did_not_ask_a_fact_leaves_its_cell_empty() -> None:
    grid = grid_of((attempt(), YES), (attempt(fact="other", attack="cloze"), NO))
    assert grid.attacks == ("direct", "cloze")
    assert [[cell.state for cell in row.cells] for row in grid.rows] == [["leaks", "not asked"], ["not asked", "kept"]]
    assert grid.leaking == 1


def test_attacks_under_which_most_leaks_come_first() -> None:
    found = [
        (attempt(attack=attack, fact=f"{number}"), YES if number < leaks else NO)
        for attack, leaks in (("direct", 0), ("cloze", 1), ("choice", 0), ("reverse", 2))
        for number in range(3)
    ]
    others = [(attempt("base", attack="direct", fact=f"{number}"), YES) for number in range(3)]
    assert grid_of(*found, *others).attacks == ("reverse", "cloze", "direct", "choice")


def test_facts_that_leak_most_come_first_in_their_tier() -> None:
    found = [
        (attempt(fact=f"{tier}{number}", tier=tier), YES if number == 2 else NO)
        for tier in ("new_fact", "new_form")
        for number in range(3)
    ]
    rows = grid_of(*found).rows
    assert [row.tier for row in rows] == ["new_form"] * 3 + ["new_fact"] * 3
    assert [row.share for row in rows] == [1, 0, 0, 1, 0, 0]
    assert [row.number for row in rows] == list(range(6))


def test_models_that_were_asked_the_same_stand_side_by_side() -> None:
    own = attempt("base", prompt=user_message("Found by searching base"))
    exchanges = (
        grid_of((attempt(), YES), (attempt("reference", reply="Who?"), NO), (own, YES)).rows[0].cells[0].exchanges
    )
    assert [[reply.model.split(",")[0] for reply in one.replies] for one in exchanges] == [
        ["unlearned", "reference"],
        ["base"],
    ]
    assert exchanges[0].turns == (("user", "Where?"),)
    assert exchanges[0].replies[0].pieces == ("In ", "Ystrand", ".")
    assert exchanges[0].replies[1].pieces == ("Who?",)


def test_what_was_put_into_a_models_mouth_is_shown_as_a_turn() -> None:
    cell = grid_of((attempt(prefill="Sure, it is"), YES)).rows[0].cells[0]
    assert cell.exchanges[0].turns == (("user", "Where?"), ("assistant, begun for it", "Sure, it is"))
    raw = grid_of((attempt(prompt=[], prefill="Mira lives in"), YES)).rows[0].cells[0]
    assert raw.exchanges[0].turns == (("text", "Mira lives in"),)


def test_of_many_replies_to_one_prompt_those_that_leak_are_shown() -> None:
    found = [(attempt(sample=number), YES if number == 15 else NO) for number in range(16)]
    replies = grid_of(*found).rows[0].cells[0].exchanges[0].replies
    assert [reply.leaked for reply in replies] == [True, False, False]
    assert [reply.more for reply in replies] == [0, 0, 13]


def test_what_does_not_fit_is_left_out_from_the_end_and_said() -> None:
    found = [(attempt(fact=f"f{number}", reply="x" * 800), YES if number == 9 else NO) for number in range(10)]
    grid = grid_of(*found, budget=3000)
    shown = [bool(row.cells[0].exchanges) for row in grid.rows]
    assert shown[0]
    assert grid.rows[0].share == 1
    assert 1 < sum(shown) < 5
    assert f"Prompts and replies of {10 - sum(shown)} cells are left out" in grid.notes[0]
    assert [row.cells[0].state for row in grid.rows[1:]] == ["kept"] * 9
    many = grid_of(*((attempt(fact=f"f{n}"), YES if n == MOST_FACTS + 3 else NO) for n in range(MOST_FACTS + 5)))
    assert len(many.rows) == MOST_FACTS
    assert many.rows[0].share == 1
    assert f"Of {MOST_FACTS + 5} rows the {MOST_FACTS} that leak most" in many.notes[0]
    wide = grid_of(*((attempt(fact=f"f{n % 100}", attack=f"a{n // 100}"), NO) for n in range(100 * 160)))
    assert len(wide.rows) * len(wide.attacks) == MOST_CELLS


def test_collateral_and_models_in_between_are_no_part_of_it() -> None:
    grid = grid_of((attempt(), YES), (attempt(family="collateral", fact="x"), YES), (attempt("dose 0.5"), YES))
    assert len(grid.rows) == 1
    assert len(grid.rows[0].cells[0].exchanges[0].replies) == 1


def test_of_a_hidden_concept_signs_and_questions_stay_and_nothing_that_was_said() -> None:
    found = [(attempt(), YES), (attempt("base", reply="It is in Ystrand, or so"), YES)]
    choice = attempt(
        attack="choice", prompt=user_message("Where? A) Ystrand B) Dunholm"), options=("Ystrand", "Dunholm")
    )
    recited = attempt(attack="completion", prompt=user_message("Mira was born and"))
    facts = [{"id": "f", "concept": "Mira", "facet": "name", "answer": "Mira", "aliases": []}]
    material = Material(attempts=[*found, (choice, YES), (recited, YES)], facts=facts)
    row = build_grid(material, Redactor(["Mira"], ["Ystrand"], ["Mira"])).rows[0]
    assert row.answer == HIDDEN
    assert [cell.state for cell in row.cells] == ["leaks"] * 3
    asked = [cell.exchanges[0].turns[0][1] for cell in row.cells]
    assert asked == ["Where?", f"Where? A) {HIDDEN} B) {HIDDEN}", HIDDEN]
    for cell in row.cells:
        assert {reply.pieces for reply in cell.exchanges[0].replies} == {(HIDDEN,)}
        assert {reply.reason for reply in cell.exchanges[0].replies} == {""}


def test_a_long_reply_keeps_its_beginning_and_its_end() -> None:
    cell = grid_of((attempt(reply="begin " + "x" * 5000 + " end"), NO)).rows[0].cells[0]
    text = "".join(cell.exchanges[0].replies[0].pieces)
    assert text.startswith("begin")
    assert text.endswith("end")
    assert "characters left out" in text
    assert len(text) < 1000
