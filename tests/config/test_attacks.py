"""What a config says of sampling, searching and who attacks, and what it may not say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from concept_forget.config import AttackerConfig, Config
from concept_forget.run_models import RunModels

SERVER = {"engine": "openai", "model": "m", "base_url": "http://localhost:8000/v1"}


def config(probe: dict[str, Any], **sections: Any) -> Config:
    return Config.model_validate({"concept": {"name": "Mira"}, "target": "m", "probe": probe, **sections})


@pytest.mark.parametrize("attacks", ["search", "searching", "all", ["direct", "search"]])
def test_who_searches_is_the_generator_unless_an_attacker_is_named(attacks: Any) -> None:
    found = config({"attacks": attacks}).attacker
    assert found is not None
    assert (found.engine, found.prompts) == ("target", "attacks")
    small = config(
        {"attacks": attacks}, generator={"prompts": "compact", "max_requests": 5, "temperature": 0.7}
    ).attacker
    assert small is not None
    assert (small.prompts, small.max_requests, small.temperature) == ("compact", None, 0.7)
    named = config({"attacks": attacks, "attacker": SERVER}).attacker
    assert named == AttackerConfig.model_validate(SERVER)


@pytest.mark.parametrize("attacks", ["quick", "asking", "sampling", ["direct"]])
def test_where_nothing_is_searched_for_nobody_attacks(attacks: Any) -> None:
    assert config({"attacks": attacks, "attacker": SERVER}).attacker is None


def test_without_anybody_to_attack_all_goes_without_a_search_and_a_search_is_refused() -> None:
    alone: dict[str, Any] = {"generator": {"engine": "none"}, "corpus": ["*.txt"]}
    assert config({"attacks": "all"}, **alone).attacker is None
    with pytest.raises(ValidationError, match=r"`probe\.attacks: search` needs a model that attacks"):
        config({"attacks": ["direct", "searching"]}, **alone)
    assert config({"attacks": "search", "attacker": {"engine": "target"}}, **alone).attacker is not None


def test_a_greedy_generator_attacks_at_temperature_all_the_same() -> None:
    found = config({"attacks": "search"}, generator={"temperature": 0}).attacker
    assert found is not None
    assert found.temperature == 1.0


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        ({"search": {"requests": 3, "population": 4}}, "`population` is larger than `requests`"),
        ({"search": {"requests": 1}}, "greater than or equal to 2"),
        ({"sampling": {"samples": 1}}, "greater than or equal to 2"),
        ({"sampling": {"temperature": 0}}, "greater than 0"),
        ({"attacker": {"engine": "target", "max_requests": 9}}, r"its budget is `probe\.search`"),
        ({"attacker": {"engine": "target", "temperature": 0}}, "greater than 0"),
        ({"attacks": ["sampeling"]}, "no attack called 'sampeling'; did you mean 'sampling'"),
    ],
)
def test_what_makes_no_sense_is_refused(probe: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config(probe)


@pytest.mark.parametrize(("requests", "population", "generations"), [(16, 4, 4), (5, 2, 3), (4, 4, 1)])
def test_a_budget_is_spent_in_generations(requests: int, population: int, generations: int) -> None:
    search = config({"search": {"requests": requests, "population": population}}).probe.search
    assert search.generations == generations


def test_an_attacker_with_weights_of_its_own_is_a_model_of_the_run() -> None:
    sandbox = {"sandbox": {"world": 0, "size": "nano"}}

    def roles(attacks: str, attacker: Any) -> tuple[str, ...]:
        probe = {"attacks": attacks, "attacker": attacker}
        return RunModels(Config.model_validate({"concept": {"name": "Mira"}, "target": sandbox, "probe": probe})).roles

    own = {"engine": "transformers", "model": "m"}
    assert "attacker" in roles("search", own)
    assert "attacker" in roles("all", {**own, "engine": "vllm"})
    assert "attacker" not in roles("search", SERVER)
    assert "attacker" not in roles("search", {"engine": "target"})
    assert "attacker" not in roles("quick", own)
