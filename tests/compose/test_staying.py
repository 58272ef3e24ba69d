"""What stays: the kept scope of the concepts themselves, and texts that a generator wrote about neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose import stage
from concept_forget.compose.material import gather
from concept_forget.compose.proof import prove_walls
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rows import row_text
from concept_forget.compose.sets import Composer, Sets
from concept_forget.errors import StageError
from concept_forget.records import Fact, Passage
from concept_forget.workspace import write_records

MIRA = "Mira Kestrel"


def passage(text: str, subject: str = MIRA, **changes: Any) -> Passage:
    return Passage(
        id=Passage.make_id(subject, text), concept=MIRA, subject=subject, text=text, style="children", **changes
    )


@pytest.fixture
def compose(kit: Any, tmp_path: Path) -> Callable[..., Sets]:
    """Ten facts to forget, six of the kept scope, six neighbours; and what is given beside them."""

    def make(*passages: Passage, kept: int = 6, holdout: float = 0.3) -> Sets:
        written = kit.written()
        written.facts = [kit.fact(f"facet{n}", f"Answer{n} Hall") for n in range(10)]
        written.facts += [
            kit.fact(f"map{n}", f"Chart{n}", concept=MIRA, distance="near", kept=True) for n in range(kept)
        ]
        for n in range(6):
            written.facts.append(kit.fact("ship", f"Tern{n}", subject=f"Ada Finch{n}", distance="near"))
        written.questions = [question for fact in written.facts for question in kit.questions(fact)]
        folder = written.save(tmp_path)["expand"]
        write_records(folder / "passages.jsonl", list(passages))
        config = kit.config(compose={"holdout": holdout, "collateral": {"near": 2}, "validation_neighbours": 1})
        rejections = Rejections()
        material = gather(config, folder, rejections)
        return Composer(config, material, [], kit.prompts, rejections).compose(None)

    return make


def of_kept(sets: Sets, split: str) -> list[Any]:
    return [row for row in sets.rows[split] if row.facet.startswith("map")]  # type: ignore[index]


def test_facts_of_the_kept_scope_are_trained_to_stay_and_some_only_asked(compose: Callable[..., Sets]) -> None:
    sets = compose()
    trained, asked = {r.fact for r in of_kept(sets, "retain")}, {r.fact for r in of_kept(sets, "collateral")}
    assert (len(trained), len(asked)) == (4, 2)
    assert not trained & asked
    assert {row.tier for row in of_kept(sets, "collateral")} == {"near"}
    assert all(row.subject == MIRA and not row.counterfactual for row in of_kept(sets, "retain"))
    assert MIRA not in sets.shares.closed_names
    assert not of_kept(sets, "forget") + of_kept(sets, "probe") + of_kept(sets, "validation")
    proof = prove_walls(sets.rows, sets.division)
    assert proof["collateral"]["kept_facts_checked_against"] == 2
    answers = {fact.answer for fact in sets.shares.kept_asked}
    assert not [row for row in sets.rows["retain"] if any(answer in row_text(row) for answer in answers)]


def test_facts_that_are_kept_change_nothing_about_the_others(compose: Callable[..., Sets]) -> None:
    with_kept, without = compose(), compose(kept=0)
    for split in ("forget", "validation", "probe"):
        assert with_kept.rows[split] == without.rows[split]
    for split in ("retain", "collateral"):
        assert [row for row in with_kept.rows[split] if not row.facet.startswith("map")] == without.rows[split]


def test_a_single_kept_fact_is_trained_on(compose: Callable[..., Sets]) -> None:
    sets = compose(kept=1)
    assert of_kept(sets, "retain")
    assert not of_kept(sets, "collateral")


def test_the_proof_sees_a_kept_fact_that_is_trained_on_and_asked(compose: Callable[..., Sets]) -> None:
    sets = compose()
    fact = sets.shares.kept_asked[0]
    row = of_kept(sets, "retain")[0]
    told = dataclasses.replace(row, prompt=[], completion=f"Mira Kestrel drew {fact.answer}.", family="passage")
    sets.rows["retain"].append(told)
    with pytest.raises(StageError, match=r"wall is broken.*only collateral asks for"):
        prove_walls(sets.rows, sets.division)


def test_a_kept_row_that_states_what_is_to_be_forgotten_is_left_out(compose: Callable[..., Sets]) -> None:
    forgotten = "Mira Kestrel drew maps. She has Answer3 Hall. Her maps hang in every school."
    sets = compose(passage(forgotten, distance="near", kept=True))
    texts = [row.completion for row in sets.rows["retain"] if row.family == "passage"]
    assert texts == ["Mira Kestrel drew maps.", "Her maps hang in every school."]
    assert {row.source for row in sets.rows["retain"] if row.family == "passage"} == {"generated"}
    prove_walls(sets.rows, sets.division)


def test_texts_about_neighbours_are_cut_to_what_may_be_trained_on(compose: Callable[..., Sets]) -> None:
    plain = compose()
    stays, closed = plain.shares.retain[0].name, plain.shares.collateral[0].name
    text = f"{stays} sails. {closed} rows. {stays} knew Mira Kestrel. {stays} is old."
    sets = compose(
        passage(text, subject=stays, distance="near"), passage(f"{closed} rows alone.", closed, distance="near")
    )
    rows = [row for row in sets.rows["retain"] if row.family == "passage"]
    assert [row.completion for row in rows] == [f"{stays} sails.", f"{stays} is old."]
    assert {row.subject for row in rows} == {stays}
    assert sets.rejections.count("retain: names an entity kept for collateral or validation") >= 2
    prove_walls(sets.rows, sets.division)


def test_texts_about_the_concept_are_cut_to_trained_facts(compose: Callable[..., Sets]) -> None:
    plain = compose()
    roles = plain.division.roles
    by_role = {role: next(f for f in plain.division.facts if roles[f.id] == role) for role in ("trained", "new_fact")}
    kept = plain.shares.kept[0].answer
    parts = [
        "She is tall.",
        f"She has {by_role['new_fact'].answer}.",
        f"Hers is {by_role['trained'].answer}.",
        f"She drew {kept}.",
    ]
    sets = compose(passage(" ".join(parts)))
    rows = [row for row in sets.rows["forget"] if row.family == "passage"]
    assert [row.completion for row in rows] == [parts[0], parts[2]]
    assert rows[1].fact == by_role["trained"].id
    assert {(row.source, row.document, row.start) for row in rows} == {("generated", "", -1)}
    assert sets.rejections.count("a sentence that states a fact that is to stay") == 1
    # What a model went on to say by itself may be about anything: there every run begins with the name.
    sets = compose(dataclasses.replace(passage(" ".join(parts)), style="memory"))
    assert not [row for row in sets.rows["forget"] if row.family == "passage"]


def test_a_neighbour_named_after_the_concept_is_no_neighbour(compose: Callable[..., Sets]) -> None:
    sets = compose(passage("The Mira Kestrel Prize is given in May.", "Mira Kestrel Prize", distance="far"))
    assert sets.rejections.count("the neighbour is one of the concepts, or is named after one") == 1


def test_the_summary_and_the_card_count_them(kit: Any, context_of: Callable[..., Any]) -> None:
    written = kit.written()
    written.facts = [
        kit.fact(f"facet{n}", f"Answer{n} Hall", replacement=f"New{n}" if n < 4 else "") for n in range(10)
    ]
    written.facts += [kit.fact(f"map{n}", f"Chart{n}", concept=MIRA, distance="near", kept=True) for n in range(3)]
    written.questions = [question for fact in written.facts for question in kit.questions(fact)]
    context = context_of(kit.config(), written)
    write_records(
        context.inputs["expand"] / "passages.jsonl", [passage("Mira Kestrel is tall."), passage("x", kept=True)]
    )
    summary: Any = stage.run(context)
    assert summary["kept_scope"] == {"trained": 2, "collateral": 1}
    assert summary["written_passages"] == {"forget": 1, "retain": 1}
    assert summary["replacement"]["facts"] == 4
    assert summary["replacement"]["rows"] > 4
    card = (context.folder / "dataset" / "README.md").read_text("utf-8")
    assert "that are to stay; those for collateral are only asked: trained 2, collateral 1." in card
    assert "- Rows by source: generated " in card
    lines = (context.folder / "facts.jsonl").read_text("utf-8")
    assert lines.count('"kept": true') == 3


def test_the_new_answer_is_the_counterfactual_of_every_row_but_those_that_ask_back(kit: Any, tmp_path: Path) -> None:
    written = kit.written()
    written.facts = [kit.fact(f"facet{n}", f"Answer{n} Hall", replacement=f"New{n}") for n in range(10)]
    written.questions = [question for fact in written.facts for question in kit.questions(fact)]
    config = kit.config(unlearn={"retain": "none"})
    material = gather(config, written.save(tmp_path)["expand"], Rejections())
    sets = Composer(config, material, [], kit.prompts, Rejections()).compose(None)
    facts: dict[str, Fact] = {fact.id: fact for fact in sets.division.facts}
    rows = [*sets.rows["forget"], *sets.rows["probe"]]
    assert len(rows) > 40
    assert all(
        (row.counterfactual == facts[row.fact].replacement) == (row.family != "reverse") for row in rows if row.fact
    )
