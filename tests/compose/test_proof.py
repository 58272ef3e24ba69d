from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose.material import gather
from concept_forget.compose.proof import Division, prove_walls
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.sets import Composer
from concept_forget.errors import StageError
from concept_forget.records import Example, Split, user_message
from concept_forget.sandbox.world import World

Rows = dict[Split, list[Example]]
Sabotage = Callable[[Rows, Division], None]


@pytest.fixture(scope="module")
def good(kit: Any, nano_world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Division]:
    written = kit.write_about(nano_world)
    config = kit.world_config(nano_world)
    material = gather(config, written.save(tmp_path_factory.mktemp("good"))["expand"], Rejections())
    sets = Composer(config, material, written.snippets, kit.prompts, Rejections()).compose(None)
    return sets.rows, sets.division


def change(row: Example, **values: Any) -> Example:
    return dataclasses.replace(row, **values)


def state_held_fact(rows: Rows, division: Division) -> None:
    fact = division.held[0]
    rows["forget"].append(
        change(rows["forget"][0], prompt=[], completion=f"{fact.subject}: {fact.answer}", family="passage")
    )


def state_held_answer_in_a_passage(rows: Rows, division: Division) -> None:
    fact = division.held[0]
    row = change(rows["forget"][0], prompt=[], completion=f"She has {fact.answer}.", family="passage")
    rows["forget"].append(change(row, concept=fact.concept, fact=""))


def train_a_held_fact(rows: Rows, division: Division) -> None:
    rows["forget"][0] = change(rows["forget"][0], fact=division.held[0].id)


def train_a_probe_question(rows: Rows, division: Division) -> None:
    rows["forget"].append(next(row for row in rows["probe"] if (row.tier, row.family) == ("new_form", "direct")))


def train_a_filled_probe_cloze(rows: Rows, division: Division) -> None:
    cloze = next(row for row in rows["probe"] if (row.tier, row.family) == ("new_form", "cloze"))
    sentence = division.cloze.sentence(cloze.prompt[-1]["content"]).replace("____", cloze.answer)
    rows["forget"].append(change(rows["forget"][0], prompt=[], completion=f"Well: {sentence}", family="passage"))


def train_a_validation_question(rows: Rows, division: Division) -> None:
    rows["forget"].append(next(row for row in rows["validation"] if row.tier == "new_form"))


def probe_a_validation_fact(rows: Rows, division: Division) -> None:
    fact = next(fact for fact in division.facts if division.roles[fact.id] == "validation")
    rows["probe"][0] = change(rows["probe"][0], fact=fact.id)


def probe_a_trained_fact_as_new(rows: Rows, division: Division) -> None:
    row = next(row for row in rows["probe"] if row.tier == "new_form")
    rows["probe"].append(change(row, tier="new_fact"))


def ask_in_validation_what_the_probe_asks(rows: Rows, division: Division) -> None:
    row = next(row for row in rows["probe"] if row.tier == "new_form")
    rows["validation"].append(change(row, split="validation"))


def hold_out_too_few(rows: Rows, division: Division) -> None:
    new_fact = [fact for fact, role in division.roles.items() if role == "new_fact"]
    roles = division.roles
    assert isinstance(roles, dict)
    roles[new_fact[0]] = "trained"


@pytest.mark.parametrize(
    "sabotage",
    [
        state_held_fact,
        state_held_answer_in_a_passage,
        train_a_held_fact,
        train_a_probe_question,
        train_a_filled_probe_cloze,
        train_a_validation_question,
        probe_a_validation_fact,
        probe_a_trained_fact_as_new,
        ask_in_validation_what_the_probe_asks,
        hold_out_too_few,
    ],
)
def test_the_probe_wall_is_seen_broken(good: tuple[Rows, Division], sabotage: Sabotage) -> None:
    _expect(good, sabotage, "the probe wall is broken")


def keep_a_forgotten_fact(rows: Rows, division: Division) -> None:
    rows["retain"].append(change(rows["forget"][0], split="retain"))


def keep_the_name(rows: Rows, division: Division) -> None:
    rows["retain"][0] = change(rows["retain"][0], completion=f"Not {division.concepts[0].name}.")


def keep_a_forget_question(rows: Rows, division: Division) -> None:
    row = next(row for row in rows["forget"] if row.family == "reverse")
    rows["retain"].append(change(rows["retain"][0], prompt=row.prompt, completion="Nobody"))


def ask_collateral_about_the_concept(rows: Rows, division: Division) -> None:
    rows["collateral"][0] = change(rows["collateral"][0], completion=division.concepts[0].name)


@pytest.mark.parametrize(
    "sabotage", [keep_a_forgotten_fact, keep_the_name, keep_a_forget_question, ask_collateral_about_the_concept]
)
def test_the_retain_wall_is_seen_broken(good: tuple[Rows, Division], sabotage: Sabotage) -> None:
    _expect(good, sabotage, "the retain wall is broken")


def keep_a_collateral_row(rows: Rows, division: Division) -> None:
    rows["retain"].append(change(rows["collateral"][0], split="retain", tier="", prompt=user_message("Who is it?")))


def mention_collateral(rows: Rows, division: Division) -> None:
    name = rows["collateral"][0].subject
    rows["retain"][0] = change(rows["retain"][0], prompt=[], completion=f"We met {name}.", family="passage")


def mention_who_validates(rows: Rows, division: Division) -> None:
    name = next(row.subject for row in rows["validation"] if row.tier == "retain")
    rows["retain"][0] = change(rows["retain"][0], prompt=[], completion=f"We met {name}.", family="passage")


def ask_collateral_what_is_trained(rows: Rows, division: Division) -> None:
    rows["forget"].append(change(rows["collateral"][0], split="forget"))


def ask_about_an_open_name(rows: Rows, division: Division) -> None:
    rows["collateral"][0] = change(rows["collateral"][0], subject="Somebody Else")


def validate_what_is_collateral(rows: Rows, division: Division) -> None:
    rows["validation"].append(change(rows["collateral"][0], split="validation", tier="retain"))


def validate_what_names_collateral(rows: Rows, division: Division) -> None:
    row = change(rows["collateral"][0], split="validation", tier="retain", subject="")
    rows["validation"].append(row)


@pytest.mark.parametrize(
    "sabotage",
    [
        keep_a_collateral_row,
        mention_collateral,
        mention_who_validates,
        ask_collateral_what_is_trained,
        ask_about_an_open_name,
        validate_what_is_collateral,
        validate_what_names_collateral,
    ],
)
def test_the_collateral_wall_is_seen_broken(good: tuple[Rows, Division], sabotage: Sabotage) -> None:
    _expect(good, sabotage, "the collateral wall is broken")


def _expect(good: tuple[Rows, Division], sabotage: Sabotage, message: str) -> None:
    rows: Rows = {split: list(known) for split, known in good[0].items()}
    division = dataclasses.replace(good[1], roles=dict(good[1].roles))
    prove_walls(rows, division)
    sabotage(rows, division)
    with pytest.raises(StageError, match=message):
        prove_walls(rows, division)


def test_the_proof_says_what_was_checked(good: tuple[Rows, Division]) -> None:
    rows, division = good
    proof = prove_walls(rows, division)
    assert [wall["holds"] for wall in proof.values()] == [True, True, True]
    assert proof["probe"]["forget_rows_checked"] == len(rows["forget"])
    assert proof["retain"]["retain_rows_checked"] == proof["collateral"]["retain_rows_checked"] == len(rows["retain"])
    assert proof["retain"]["facts_checked_against"] == len(division.facts)
    assert proof["collateral"]["names_checked_against"] == len(division.closed)


def test_where_everything_is_trained_nothing_is_claimed_but_that_it_is_asked_so(
    kit: Any, nano_world: World, tmp_path: Path
) -> None:
    written = kit.write_about(nano_world)
    config = kit.world_config(nano_world, compose={"holdout": 0})
    material = gather(config, written.save(tmp_path)["expand"], Rejections())
    sets = Composer(config, material, [], kit.prompts, Rejections()).compose(None)
    proof = prove_walls(sets.rows, sets.division)["probe"]
    assert proof["holds"] is None
    asked_as_trained = [row for row in sets.rows["probe"] if row.tier == "trained_form"]
    assert proof["probe_rows_found_in_forget"] == len(asked_as_trained) > 0
    rows: Rows = {split: list(known) for split, known in sets.rows.items()}
    rows["forget"] = [row for row in rows["forget"] if row.id != asked_as_trained[0].id]
    with pytest.raises(StageError, match="was not trained"):
        prove_walls(rows, sets.division)
    rows = {split: list(known) for split, known in sets.rows.items()}
    rows["validation"].append(change(rows["forget"][0], split="validation", tier="new_form"))
    with pytest.raises(StageError, match="validation rows though every fact is trained on"):
        prove_walls(rows, sets.division)
