from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose.knowledge import find_known
from concept_forget.engines.opening import open_engine
from concept_forget.engines.protocol import Engine
from concept_forget.records import Example, ModelSpec, user_message
from concept_forget.sandbox.world import World, WorldFact
from concept_forget.workspace import Costs


@pytest.fixture(scope="module")
def engine(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    spec = ModelSpec(path=str(nano_model), fingerprint="nano")
    cache = tmp_path_factory.mktemp("cache") / "replies.sqlite"
    with contextlib.closing(open_engine(spec, cache=cache, costs=Costs(), batch_tokens=4096)) as opened:
        yield opened


def check(fact: WorldFact, wording: str, answer: str | None = None) -> Example:
    prompt = user_message(fact.fill(wording))
    answer = answer or fact.answer
    return Example(
        id=Example.make_id(prompt, answer), split="probe", concept=fact.subject.name, subject=fact.subject.name,
        facet=fact.relation.name, fact=fact.answer, form="paraphrase 1", family="paraphrase", tier="", prompt=prompt,
        completion=answer, answer=answer,
    )  # fmt: skip


def test_what_was_taught_is_known_and_what_was_not_is_not(engine: Engine, nano_world: World) -> None:
    facts = [fact for fact in nano_world.facts if fact.subject.kind == "person"]
    true = {f"true {n}": [check(fact, w) for w in fact.relation.taught[1:4]] for n, fact in enumerate(facts)}
    false = {
        f"false {n}": [check(fact, w, "Gilded Otter") for w in fact.relation.taught[1:4]]
        for n, fact in enumerate(facts)
    }
    known = find_known(engine, {**true, **false}, "answer", 16)
    assert set(known) == {*true, *false}
    assert sum(known[fact] for fact in true) >= 0.95 * len(true)
    assert not any(known[fact] for fact in false)


@pytest.mark.parametrize(("right", "wrong", "known"), [(1, 1, True), (1, 2, False), (2, 1, True), (0, 1, False)])
def test_half_of_the_wordings_have_to_be_answered(
    engine: Engine, nano_world: World, right: int, wrong: int, known: bool
) -> None:
    fact = next(fact for fact in nano_world.facts if fact.subject.kind == "person")
    rows = [check(fact, w) for w in fact.relation.taught[:right]]
    rows += [check(fact, w, "Gilded Otter") for w in fact.relation.taught[right : right + wrong]]
    assert find_known(engine, {"fact": rows}, "answer", 16) == {"fact": known}


def test_with_rouge_as_grader_most_of_the_words_are_enough(engine: Engine, nano_world: World) -> None:
    facts = [f for f in nano_world.facts if f.subject.kind == "person" and len(f.answer.split()) == 2]
    answered = find_known(engine, {f.answer: [check(f, f.relation.taught[0])] for f in facts[:10]}, "answer", 16)
    fact = next(f for f in facts if answered[f.answer])
    wording = fact.relation.taught[0]
    most, few = f"{fact.answer} again", f"{fact.answer} far over sea"
    rows = {answer: [check(fact, wording, answer)] for answer in (most, few)}
    assert find_known(engine, rows, "rouge_l", 16) == {most: True, few: False}


def test_facts_without_a_wording_to_spare_are_not_asked_about(engine: Any) -> None:
    assert find_known(engine, {}, "answer", 16) == {}
    assert find_known(engine, {"fact": []}, "answer", 16) == {}
