"""Questions in other languages are asked by the probe alone, whatever is trained on."""

from __future__ import annotations

from typing import Any

import pytest

from concept_forget.compose.material import Material
from concept_forget.compose.proof import prove_walls
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.sets import Composer, Sets


def compose(kit: Any, asked: int, *, count: int = 10, holdout: float = 0.3) -> Sets:
    """Facts of one concept, the first ones asked for in German and French too."""
    facts = [kit.fact(f"facet{n}", f"Answer{n} Hall") for n in range(count)]
    questions = {fact.id: kit.questions(fact) for fact in facts}
    for number, fact in enumerate(facts[:asked]):
        for variant, text in enumerate((f"Was ist facet{number}, Mira Kestrel?", f"Le facet{number} de Mira Kestrel?")):
            said = kit.question(fact, "translation", text, variant, aliases=(f"Halle {number}",))
            questions[fact.id].append(said)
    config = kit.config(compose={"holdout": holdout}, unlearn={"retain": "none"})
    return Composer(config, Material(facts=facts, questions=questions), [], kit.prompts, Rejections()).compose(None)


@pytest.mark.parametrize("holdout", [0.3, 0.0])
def test_each_asks_for_its_fact_in_the_probe_and_stands_in_no_other_set(kit: Any, holdout: float) -> None:
    sets = compose(kit, 10, holdout=holdout)
    rows = [row for row in sets.rows["probe"] if row.family == "translation"]
    roles = sets.division.roles
    assert sorted(row.fact for row in rows) == sorted(2 * [f for f, role in roles.items() if role != "validation"])
    for row in rows:
        assert row.tier == ("new_form" if roles[row.fact] == "trained" else "new_fact")
        number = row.facet.removeprefix("facet")
        assert row.answer == f"Answer{number} Hall"
        assert row.aliases == (f"Halle {number}",)
    others = [row for split in ("forget", "retain", "validation") for row in sets.rows[split]]
    assert not [row for row in others if row.family == "translation"]
    assert {row.aliases for row in sets.rows["probe"] if row.family != "translation"} == {()}
    prove_walls(sets.rows, sets.division)


def test_they_change_nothing_else(kit: Any) -> None:
    plain, asked = compose(kit, 0, count=40), compose(kit, 30, count=40)
    assert plain.division.roles == asked.division.roles
    for split in ("forget", "validation", "collateral", "retain"):
        assert plain.rows[split] == asked.rows[split]
    assert [row for row in asked.rows["probe"] if row.family != "translation"] == plain.rows["probe"]
