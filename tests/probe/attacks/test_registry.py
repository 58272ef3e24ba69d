from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from concept_forget.config.verbs import WHITE_BOX_NAMES, AttackGroup, AttackName, ProbeConfig
from concept_forget.errors import ConfigError
from concept_forget.probe.attacks import ATTACKS, attacks_named, wordings
from concept_forget.probe.white_box import WHITE_BOX


def names(*wanted: str) -> list[str]:
    return [attack.name for attack in attacks_named(wanted)]


def test_a_config_can_name_every_attack_and_every_family() -> None:
    known = {**ATTACKS, **WHITE_BOX}
    assert sorted(get_args(AttackName)) == sorted(known)
    families = {attack.family for attack in known.values()}
    assert set(WHITE_BOX_NAMES) == {"white_box", *WHITE_BOX}
    assert set(get_args(AttackGroup)) == {"quick", "all", *families}


def test_groups_and_names_add_up_in_the_order_of_registration() -> None:
    assert [attack.name for attack in attacks_named("all")] == list(ATTACKS)
    asking, persuading, weights = names("asking"), names("persuading"), names("weights")
    assert [*asking, *persuading, "sampling", "search", *weights] == list(ATTACKS)
    assert {name for name, attack in ATTACKS.items() if attack.change is not None} == set(weights)
    assert names("sampling", "searching") == ["sampling", "search"]
    assert names("quick") == asking[:8]
    assert names("persistence", "quick", "typos") == [*asking[:8], "typos", "persistence"]
    assert names("white_box", "lens") == []  # what reads scores asks nothing
    with pytest.raises(ConfigError, match="a family \\(asking, persuading, sampling, searching, weights, white_box\\)"):
        attacks_named(("direct", "begging"))


@pytest.mark.parametrize("wanted", ["white_box", "lens", ["memory", "white_box"]])
def test_scores_alone_decide_nothing(wanted: object) -> None:
    with pytest.raises(ValidationError, match="no verdict can rest on them"):
        ProbeConfig.model_validate({"attacks": wanted})
    assert ProbeConfig.model_validate({"attacks": ["direct", "lens"]}).attacks == ("direct", "lens")


def test_every_wording_belongs_to_an_attack() -> None:
    assert set(wordings().prompts) <= {*ATTACKS, "search_mutation", "search_judge"}
