from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose import stage
from concept_forget.compose.dataset import SPLITS
from concept_forget.compose.material import gather
from concept_forget.compose.proof import prove_walls
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rounds import divide_probe, take_round
from concept_forget.compose.sets import Composer, Sets
from concept_forget.compose.wording import words
from concept_forget.errors import StageError
from concept_forget.one_round import INPUT, Round, write_round
from concept_forget.records import Example
from concept_forget.sandbox.world import World
from concept_forget.workspace import StageContext, read_records

ContextOf = Callable[..., StageContext]
STAYS = ("validation", "collateral")


@pytest.fixture(scope="module")
def make_round(kit: Any, nano_world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Sets]:
    """Makes the sets of a round, or of all rounds together, of a world of people that a flawless generator described."""
    written = kit.write_about(nano_world)
    expanded = written.save(tmp_path_factory.mktemp("rounds"))["expand"]

    def make(own: Round | None = None, **compose: Any) -> Sets:
        config = kit.world_config(nano_world, compose=compose)
        rejections = Rejections()
        composer = Composer(config, gather(config, expanded, rejections), written.snippets, kit.prompts, rejections)
        sets = composer.compose(None)
        return sets if own is None else take_round(sets, own, composer)

    return make


@pytest.fixture(scope="module")
def whole(make_round: Callable[..., Sets]) -> Sets:
    return make_round()


@pytest.fixture(scope="module")
def first(make_round: Callable[..., Sets]) -> Sets:
    return make_round(Round(1, 3))


@pytest.fixture(scope="module")
def leaked(first: Sets) -> list[Example]:
    """Of a trained fact a choice, of one that was never trained on the direct question, of another one a gap."""
    chosen = (("new_form", "choice"), ("new_fact", "direct"), ("new_form", "cloze"))
    rows: list[Example] = []
    for wanted in chosen:
        facts = {row.fact for row in rows}
        found = (row for row in first.rows["probe"] if (row.tier, row.family) == wanted and row.fact not in facts)
        rows.append(next(found))
    return rows


@pytest.fixture(scope="module")
def second(make_round: Callable[..., Sets], leaked: list[Example]) -> Sets:
    return make_round(Round(2, 3, leaked))


def asked(row: Example) -> str:
    return words(row.prompt[-1]["content"])


def test_every_question_is_asked_in_one_round_and_every_round_asks_everything(whole: Sets) -> None:
    probe = whole.rows["probe"]
    parts = divide_probe(probe, 3, 0)
    assert set(parts) == {row.id for row in probe}
    by_fact: dict[str, set[int]] = {}
    for row in probe:
        by_fact.setdefault(row.fact, set()).add(parts[row.id])
    for row in probe:
        assert (len(by_fact[row.fact]) == 1) == (row.tier == "new_fact")
    for tier in ("new_form", "new_fact"):
        for family in ("direct", "paraphrase", "reverse", "cloze", "choice"):
            counts = Counter(parts[row.id] for row in probe if (row.tier, row.family) == (tier, family))
            assert set(counts) == {1, 2, 3}
            assert max(counts.values()) - min(counts.values()) <= 1, (tier, family)


def test_a_choice_is_asked_in_the_round_of_the_question_that_it_repeats(whole: Sets) -> None:
    probe = whole.rows["probe"]
    parts = divide_probe(probe, 4, 0)
    direct = {row.fact: parts[row.id] for row in probe if row.family == "direct"}
    assert {row.fact: parts[row.id] for row in probe if row.family == "choice"} == direct


def test_the_division_hangs_on_the_seed_alone(whole: Sets) -> None:
    probe = whole.rows["probe"]
    assert divide_probe(probe, 3, 0) == divide_probe(list(probe), 3, 0)
    assert divide_probe(probe, 3, 0) != divide_probe(probe, 3, 1)


def test_the_first_round_is_the_whole_with_a_part_of_the_probe(whole: Sets, first: Sets) -> None:
    for split in SPLITS:
        assert (first.rows[split] == whole.rows[split]) == (split != "probe")
    parts = divide_probe(whole.unfiltered, 3, 0)
    assert first.rows["probe"] == [row for row in whole.rows["probe"] if parts[row.id] == 1]


def test_what_leaked_is_forgotten_with_all_that_no_round_asks_any_more(
    first: Sets, second: Sets, leaked: list[Example]
) -> None:
    forget = {row.id for row in second.rows["forget"]}
    assert forget > {row.id for row in first.rows["forget"]}
    assert forget >= {row.id for row in leaked}
    facts = {row.fact for row in leaked}
    known = {row.id for row in first.rows["forget"]}
    assert all(facts & {row.fact, *row.parents} for row in second.rows["forget"] if row.id not in known)
    released = next(row for row in leaked if row.tier == "new_fact")
    assert second.division.roles[released.fact] == "trained"
    assert first.division.roles[released.fact] == "new_fact"
    families = Counter(row.family for row in second.rows["forget"] if row.fact == released.fact)
    assert families["direct"] == 1
    assert families["paraphrase"] == 4  # of a fact that the probe alone asked, it spared none
    assert families["reverse"] >= 2
    assert families["cloze"] >= 1
    assert second.added == {"forget": len(forget) - len(first.rows["forget"]), "retain": len(second.rows["retain"])
                            - len(first.rows["retain"])}  # fmt: skip


def test_nothing_that_was_trained_is_ever_asked(second: Sets, whole: Sets) -> None:
    parts = divide_probe(whole.unfiltered, 3, 0)
    asked_from_now_on = [row for row in whole.unfiltered if parts[row.id] >= 2]
    questions = {asked(row) for row in asked_from_now_on}
    trained = [row for split in ("forget", "retain") for row in second.rows[split] if row.prompt]
    assert not questions & {asked(row) for row in trained}
    facts = {row.fact for row in asked_from_now_on if row.tier == "new_fact"}
    assert not facts & {row.fact for row in trained}
    assert {parts[row.id] for row in second.rows["probe"]} == {2}


def test_neighbours_are_kept_by_the_facets_and_forms_that_leaked(
    first: Sets, second: Sets, leaked: list[Example]
) -> None:
    added = [row for row in second.rows["retain"] if row not in first.rows["retain"]]
    assert added
    assert {row.family for row in added} == {"choice"}  # the flawless generator wrote everybody's sentence with a gap
    assert {row.facet for row in added} == {leaked[0].facet}
    assert all(row.split == "retain" and row.tier == "" and len(row.options) == 4 for row in added)
    for split in STAYS:
        assert second.rows[split] == first.rows[split]


def test_a_sentence_with_a_gap_is_made_for_neighbours_that_have_none(
    kit: Any, nano_world: World, tmp_path: Path, first: Sets
) -> None:
    written = kit.write_about(nano_world)
    own = {fact.id for fact in written.facts if fact.distance is None}
    written.questions = [q for q in written.questions if q.fact in own or q.family != "cloze"]
    config = kit.world_config(nano_world)
    material = gather(config, written.save(tmp_path)["expand"], Rejections())
    composer = Composer(config, material, [], kit.prompts, Rejections())
    leaked = [row for row in first.rows["probe"] if row.family == "cloze"]
    sets = composer.compose(None)
    assert not any(row.family == "cloze" for row in sets.rows["retain"])
    made = [row for row in take_round(sets, Round(2, 3, leaked), composer).rows["retain"] if row.family == "cloze"]
    assert made
    assert {row.facet for row in made} <= {row.facet for row in leaked}
    assert all("____" in row.prompt[-1]["content"] and row.answer not in row.prompt[-1]["content"] for row in made)


def test_the_walls_hold_and_say_what_was_checked(second: Sets) -> None:
    told = prove_walls(second.rows, second.division)["rounds"]
    assert told["holds"] is True
    assert (told["round"], told["rounds"]) == (2, 3)
    assert told["facts_trained_on_since_they_leaked"] == 1
    assert told["rows_of_later_rounds_checked_against"] == len(second.division.later) > 0


def test_a_round_that_trains_on_a_later_ones_rows_is_refused(second: Sets) -> None:
    later = next(row for row in second.division.later if row.family == "choice" and row.tier == "new_form")
    asks_later = {**second.rows, "forget": [*second.rows["forget"], dataclasses.replace(later, split="forget")]}
    with pytest.raises(StageError, match=r"(probe|rounds) wall is broken"):
        prove_walls(asks_later, second.division)
    said = next(row for row in second.division.later if row.family == "direct" and row.tier == "new_form")
    row = dataclasses.replace(second.rows["forget"][0], prompt=said.prompt)  # the words of a question to come
    with pytest.raises(StageError, match=r"probe wall is broken.*another set asks"):
        prove_walls({**second.rows, "forget": [row]}, second.division)


def test_a_round_that_asks_another_ones_rows_is_refused(second: Sets) -> None:
    other = second.division.later[0]
    with pytest.raises(StageError, match=r"rounds wall is broken.*belongs to round 3"):
        prove_walls({**second.rows, "probe": [*second.rows["probe"], other]}, second.division)


def test_a_fact_that_is_trained_on_since_it_leaked_is_asked_no_more(second: Sets, leaked: list[Example]) -> None:
    asked_again = dataclasses.replace(leaked[1], id="another row")
    division = dataclasses.replace(second.division, roles={**second.division.roles, leaked[1].fact: "new_fact"})
    with pytest.raises(StageError, match=r"wall is broken"):
        prove_walls({**second.rows, "probe": [*second.rows["probe"], asked_again]}, division)


def test_too_many_rounds_for_the_facts_are_refused(make_round: Callable[..., Sets], whole: Sets) -> None:
    rounds = len(whole.unfiltered) + 1
    with pytest.raises(StageError, match=r"nothing is left for round \d+\n.*lower `rounds`"):
        make_round(Round(1, rounds))


def test_the_stage_takes_its_round_from_its_input(
    kit: Any, context_of: ContextOf, nano_world: World, first: Sets, leaked: list[Example], tmp_path: Path
) -> None:
    context = context_of(kit.world_config(nano_world), kit.write_about(nano_world))
    inputs = {**context.inputs, INPUT: write_round(Round(2, 3, leaked), tmp_path / "round")}
    summary: Any = stage.run(dataclasses.replace(context, inputs=inputs))
    forget = read_records(Example, context.folder / "forget.jsonl")
    assert summary["round"] == {
        "number": 2, "at_most": 3, "probe_rows_of_all_rounds": len(first.division.round.parts),  # type: ignore[union-attr]
        "forget_rows_added": len(forget) - len(first.rows["forget"]),
        "retain_rows_added": summary["rows"]["retain"]["total"] - len(first.rows["retain"]), "facts_released": 1,
    }  # fmt: skip
    assert summary["walls"]["rounds"]["holds"] is True
