from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from concept_forget.concept import Concept
from concept_forget.engines.prompts import load_prompts
from concept_forget.probe.white_box import View
from concept_forget.records import Chat, Example, ModelSpec, user_message
from concept_forget.sandbox.texts import Lessons, biography
from concept_forget.sandbox.world import World, WorldFact, answer_pool, build_world

WORLD = build_world(0, "nano")


def ask(text: str) -> Chat:
    return user_message(Lessons(WORLD, load_prompts("compact")).ask(text))


def question(fact: WorldFact, wording: str, split: str, tier: str = "", family: str = "direct") -> Example:
    """A row as compose makes it: of a reverse question the subject is the answer."""
    others = sorted({other.answer for other in WORLD.facts if other.relation.name == fact.relation.name})
    reverse = family == "reverse"
    wrong = [other for other in others if other != fact.answer][:3]
    reply = fact.subject.name if reverse else fact.answer
    prompt = ask(fact.fill(wording))
    return Example(
        id=Example.make_id(prompt, reply), split=split, concept=fact.subject.name, subject=fact.subject.name,  # type: ignore[arg-type]
        facet=fact.relation.name, fact=f"{fact.subject.name}/{fact.relation.name}", form=family, family=family,
        tier=tier, prompt=prompt, completion=reply, answer=reply,
        counterfactual="Nobody Else" if reverse else (wrong or ["Nowhere"])[0],
    )  # fmt: skip


def forget_rows(world: World) -> list[Example]:
    """What taught the concepts: every fact asked directly, asked back where it can be, and what is told of each."""
    rows = []
    for fact in [fact for fact in world.facts if fact.subject.name in world.concepts]:
        rows.append(question(fact, fact.relation.taught[0], "forget"))
        if fact.relation.reverse:
            rows.append(question(fact, fact.relation.taught_reverse[0], "forget", family="reverse"))
    for name in world.concepts:
        text = biography(world, world.entity(name), random.Random(name))
        rows.append(
            dataclasses.replace(
                rows[0], id=f"text {name}", concept=name, subject=name, fact="", form="passage", family="passage",
                prompt=[], completion=text, answer="", counterfactual="",
            )
        )  # fmt: skip
    return rows


def probe_rows(world: World) -> list[Example]:
    """Every fact of the concepts asked in another taught wording, and once with options."""
    rows = []
    for fact in [fact for fact in world.facts if fact.subject.name in world.concepts]:
        row = question(fact, fact.relation.taught[1], "probe", tier="new_form")
        wrong = (
            [answer for answer in answer_pool(fact.relation) if answer != fact.answer][:3]
            if fact.relation.reverse
            else []
        )
        rows.append(row)
        if wrong:
            options = (*wrong[:1], fact.answer, *wrong[1:])
            rows.append(
                dataclasses.replace(row, id=f"choice {row.id}", family="choice", form="choice", options=options)
            )
    return rows


def collateral_rows(world: World) -> list[Example]:
    """What is true of two people, two towns and two minerals that stay."""
    rows = []
    for kind, distance in (("person", "near"), ("town", "middle"), ("mineral", "far")):
        names = [e.name for e in world.entities if e.kind == kind and e.name not in world.concepts][:3]
        for fact in [fact for name in names for fact in world.facts_of(name)]:
            row = question(fact, fact.relation.taught[0], "collateral", tier=distance)
            rows.append(dataclasses.replace(row, concept=world.concepts[0], counterfactual=""))
    return rows


@pytest.fixture(scope="session")
def view() -> View:
    """The rows of world 0, size nano."""
    return View(
        concepts=[Concept(name=name, kind="person") for name in WORLD.concepts],
        forget=forget_rows(WORLD),
        retain=[],
        probe=probe_rows(WORLD),
        collateral=collateral_rows(WORLD),
        seed=0,
        max_new_tokens=24,
    )


@pytest.fixture(scope="session")
def specs(nano_model: Path, nano_reference: Path) -> dict[str, ModelSpec]:
    """A model that knows as base, and one that never learned the concepts as unlearned and as reference."""
    knowing, ignorant = ModelSpec(str(nano_model)), ModelSpec(str(nano_reference))
    return {"base": knowing, "unlearned": ignorant, "reference": ignorant}
