"""What nearly repeats a question of another set is not trained on, where that is asked for."""

from __future__ import annotations

from typing import Any

from concept_forget.compose.likeness import NEARLY_ASKED
from concept_forget.compose.material import Entity, Material
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.sets import Composer, Sets
from concept_forget.compose.summary import summarise

LONG = "please tell me now in one short sentence and without any further explanation what the {f} of {s} was"


def compose(kit: Any, near_duplicates: float | None) -> tuple[Sets, dict[str, Any]]:
    facts = [kit.fact(f"facet{n}", f"Answer{n} Hall") for n in range(10)]
    neighbours = [kit.fact("ship", f"Tern{n}", subject=f"Ada Finch{n}", distance="near") for n in range(6)]
    questions = {fact.id: kit.questions(fact) for fact in (*facts, *neighbours)}
    for fact in (*facts, *neighbours):
        text = LONG.format(f=fact.facet, s=fact.subject)
        # The direct question is the probe's or collateral's; the paraphrase, one word changed, would be trained on.
        questions[fact.id][0] = kit.question(fact, "direct", text)
        questions[fact.id][1] = kit.question(fact, "paraphrase", text.replace("please", "kindly"), 1)
    entities = [Entity(fact.subject, "near", (fact,), "generated") for fact in neighbours]
    config = kit.config(compose={"near_duplicates": near_duplicates, "collateral": {"near": 2}})
    material = Material(facts=facts, questions=questions, entities=entities)
    sets = Composer(config, material, [], kit.prompts, Rejections()).compose(None)
    return sets, summarise(sets, config, {})


def longer(sets: Sets, split: str) -> int:
    return sum("kindly" in row.prompt[-1]["content"] for row in sets.rows[split] if row.prompt)  # type: ignore[index]


def test_near_duplicates_leave_the_trained_side_and_are_counted(kit: Any) -> None:
    plain, summary = compose(kit, None)
    assert longer(plain, "forget")
    assert "near_duplicates" not in summary
    cleaned, summary = compose(kit, 0.8)
    assert longer(cleaned, "forget") == 0
    assert summary["near_duplicates"]["forget"] == longer(plain, "forget")
    assert len(cleaned.rows["forget"]) == len(plain.rows["forget"]) - longer(plain, "forget")
    assert cleaned.rows["probe"] == plain.rows["probe"]
    assert summary["rejected"][f"forget: {NEARLY_ASKED}"]["count"] == longer(plain, "forget")


def test_what_is_less_alike_than_the_threshold_stays(kit: Any) -> None:
    assert longer(compose(kit, 0.95)[0], "forget")


def test_rows_that_stay_are_held_against_what_the_probe_asks_too(kit: Any) -> None:
    facts = [kit.fact(f"facet{n}", f"Answer{n} Hall") for n in range(10)]
    neighbour = kit.fact("facet1", "Tern", subject="Ada Finch", distance="near")
    questions = {fact.id: kit.questions(fact) for fact in (*facts, neighbour)}
    asked = "please tell me now in one short sentence and without any further explanation what facet of whom this is"
    for fact in facts:
        questions[fact.id][0] = kit.question(fact, "direct", f"{asked} {fact.facet}")
    questions[neighbour.id].append(kit.question(neighbour, "paraphrase", f"{asked} indeed", 5))
    material = Material(
        facts=facts, questions=questions, entities=[Entity("Ada Finch", "near", (neighbour,), "generated")]
    )
    config = kit.config(compose={"near_duplicates": 0.8, "collateral": {}, "validation_neighbours": 0})
    sets = Composer(config, material, [], kit.prompts, Rejections()).compose(None)
    assert sets.rejections.count(f"retain: {NEARLY_ASKED}") == 1
