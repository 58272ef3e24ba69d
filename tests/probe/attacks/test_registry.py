from __future__ import annotations

from typing import get_args

import pytest

from concept_forget.config.verbs import AttackGroup, AttackName
from concept_forget.errors import ConfigError
from concept_forget.probe.attacks import ATTACKS, attacks_named, wordings


def names(*wanted: str) -> list[str]:
    return [attack.name for attack in attacks_named(wanted)]


def test_a_config_can_name_every_attack_and_every_family() -> None:
    assert sorted(get_args(AttackName)) == sorted(ATTACKS)
    families = {attack.family for attack in ATTACKS.values()}
    assert set(get_args(AttackGroup)) == {"quick", "all", *families}


def test_groups_and_names_add_up_in_the_order_of_registration() -> None:
    assert [attack.name for attack in attacks_named("all")] == list(ATTACKS)
    asking, persuading, weights = names("asking"), names("persuading"), names("weights")
    assert asking + persuading + weights == list(ATTACKS)
    assert {name for name, attack in ATTACKS.items() if attack.change is not None} == set(weights)
    assert names("quick") == asking[:8]
    assert names("persistence", "quick", "typos") == [*asking[:8], "typos", "persistence"]
    with pytest.raises(ConfigError, match="a family \\(asking, persuading, weights\\)"):
        attacks_named(("direct", "begging"))


def test_every_wording_belongs_to_an_attack() -> None:
    assert set(wordings().prompts) <= set(ATTACKS)
