"""Chains through a trained fact are asked by the probe alone, and only where there is something to put together."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from concept_forget.compose import stage
from concept_forget.compose.material import Material
from concept_forget.compose.proof import prove_walls
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.sets import Composer, Sets
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import StageError

NO_RETAIN = {"retain": "none"}


def compose(kit: Any, hops: dict[int, tuple[str, str]], *, holdout: float = 0.3) -> Sets:
    """Ten facts of one concept, some with a question that leads through them to an answer."""
    facts = [kit.fact(f"facet{n}", f"Answer{n} Hall") for n in range(10)]
    questions = {fact.id: kit.questions(fact) for fact in facts}
    for number, (text, answer) in hops.items():
        questions[facts[number].id].append(kit.question(facts[number], "two_hop", text, answer=answer))
    config = kit.config(compose={"holdout": holdout}, unlearn=NO_RETAIN)
    material = Material(facts=facts, questions=questions)
    return Composer(config, material, [], kit.prompts, Rejections()).compose(None)


def test_chains_through_trained_facts_are_a_tier_of_the_probe_and_stand_nowhere_else(kit: Any) -> None:
    hops = {n: (f"Which county holds the facet{n} of Mira Kestrel?", f"County{n}") for n in range(10)}
    sets = compose(kit, hops)
    rows = [row for row in sets.rows["probe"] if row.family == "two_hop"]
    trained = {fact for fact, role in sets.division.roles.items() if role == "trained"}
    assert {row.fact for row in rows} == trained
    assert {(row.tier, row.split) for row in rows} == {("two_hop", "probe")}
    assert all(row.answer.startswith("County") and not row.aliases and not row.counterfactual for row in rows)
    assert not [r for s in ("forget", "retain", "validation") for r in sets.rows[s] if r.family == "two_hop"]
    left_out = sets.rejections.count("a two-hop question through a fact that is not trained on")
    assert left_out == 10 - len(trained)
    assert prove_walls(sets.rows, sets.division)["probe"]["holds"] is True


def test_chains_change_nothing_else(kit: Any) -> None:
    plain, chained = (
        compose(kit, {}),
        compose(kit, {3: ("Which county holds her facet3, Mira Kestrel's?", "Mornshire")}),
    )
    assert plain.division.roles == chained.division.roles
    for split in ("forget", "validation", "collateral", "retain"):
        assert plain.rows[split] == chained.rows[split]
    assert [row for row in chained.rows["probe"] if row.family != "two_hop"] == plain.rows["probe"]


def test_where_every_fact_is_trained_on_chains_are_still_only_asked(kit: Any) -> None:
    text = "Which county holds the facet3 of Mira Kestrel?"
    sets = compose(kit, {3: (text, "Mornshire")}, holdout=0.0)
    assert [row.prompt[-1]["content"] for row in sets.rows["probe"] if row.tier == "two_hop"] == [text]
    assert not [row for row in sets.rows["forget"] if "county" in str(row.prompt)]
    prove_walls(sets.rows, sets.division)


def test_a_chain_whose_end_is_trained_on_is_no_chain(kit: Any) -> None:
    # Where "Mornshire" is the subject's own answer to another trained fact, nothing has to be put together.
    roles = compose(kit, {}).division.roles
    trained = [n for n in range(10) if roles[kit.fact(f"facet{n}", f"Answer{n} Hall").id] == "trained"]
    sets = compose(kit, {trained[0]: ("Which hall is beside hers, Mira Kestrel's?", f"Answer{trained[1]} Hall")})
    assert not [row for row in sets.rows["probe"] if row.family == "two_hop"]
    assert sets.rejections.count("a two-hop question whose answer is trained on") == 1


def test_a_chain_that_comes_to_the_trained_answer_by_another_way_stays(kit: Any) -> None:
    roles = compose(kit, {}).division.roles
    number = next(n for n in range(10) if roles[kit.fact(f"facet{n}", f"Answer{n} Hall").id] == "trained")
    sets = compose(kit, {number: ("What has she who wrote Salt Maps?", f"Answer{number} Hall")})
    assert [row.tier for row in sets.rows["probe"] if row.family == "two_hop"] == ["two_hop"]


def test_the_proof_sees_a_chain_that_is_trained_on_or_leads_astray(kit: Any) -> None:
    hops = {n: (f"Which county holds the facet{n} of Mira Kestrel?", f"County{n}") for n in range(10)}
    sets = compose(kit, hops)
    row = next(row for row in sets.rows["probe"] if row.tier == "two_hop")
    told = dataclasses.replace(
        sets.rows["forget"][0], prompt=[], family="passage", completion=f"Mira Kestrel: {row.answer}."
    )
    sets.rows["forget"].append(told)
    with pytest.raises(StageError, match="where it leads is trained on"):
        prove_walls(sets.rows, sets.division)
    sets.rows["forget"].pop()
    sets.rows["forget"].append(dataclasses.replace(row, split="forget"))
    with pytest.raises(StageError, match="two-hop question stands outside"):
        prove_walls(sets.rows, sets.division)
    sets.rows["forget"].pop()
    held = next(fact for fact, role in sets.division.roles.items() if role == "new_fact")
    sets.rows["probe"].append(dataclasses.replace(row, fact=held))
    with pytest.raises(StageError, match="leads through a fact that is new_fact"):
        prove_walls(sets.rows, sets.division)


def test_the_plan_expects_chains_where_the_prompts_ask_for_them(kit: Any, tmp_path: Path) -> None:
    shutil.copytree(load_prompts("compact").folder, tmp_path / "mine")
    config = kit.config(generator={"engine": "target", "prompts": str(tmp_path / "mine")})
    (tmp_path / "mine" / "two_hop.jinja").unlink(missing_ok=True)
    assert "two_hop" not in stage.estimate(config)
    front = "---\ndescription: A chain.\nreturns: line\n---\nAsk.\n"
    (tmp_path / "mine" / "two_hop.jinja").write_text(front, encoding="utf-8")
    expected = stage.estimate(config)
    assert expected["two_hop"] == expected["trained"] > 0
