from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.errors import DataError
from concept_forget.expand.expansion import expand
from concept_forget.expand.plan import estimate


def make_config(concepts: int = 1, prompts: str = "compact", **expand: object) -> Config:
    names = ["Mira Kestrel", "Ilse Marlowe", "Tobias Wren", *(f"Person {number}" for number in range(20))]
    return Config.model_validate(
        {
            "concepts": [{"name": name, "kind": "person"} for name in names[:concepts]],
            "target": "some/model",
            "generator": {"prompts": prompts},
            "expand": expand,
        }
    )


def test_nothing_is_asked_without_a_generator() -> None:
    config = Config.model_validate(
        {"concept": {"name": "Mira"}, "target": "m", "generator": {"engine": "none"}, "corpus": ["*.txt"]}
    )
    assert estimate(config) == {"requests": 0, "tokens": 0}


@pytest.mark.parametrize("prompts", ["compact", "default"])
@pytest.mark.parametrize("more", [{"paraphrases": 12}, {"neighbours": {"near": 90}}, {"reverse": 9}])
def test_more_wished_for_is_more_asked_and_more_written(prompts: str, more: dict[str, object]) -> None:
    plain, larger = estimate(make_config(prompts=prompts)), estimate(make_config(prompts=prompts, **more))
    assert larger["requests"] > plain["requests"]
    assert larger["tokens"] > plain["tokens"]


def test_the_work_grows_with_the_concepts() -> None:
    one, ten = (estimate(make_config(count, neighbours={}))["requests"] for count in (1, 10))
    assert ten == pytest.approx(10 * one, rel=0.01)


def test_facets_that_the_concept_names_are_not_asked_for() -> None:
    data = make_config(neighbours={}).model_dump()
    data["concepts"] = [{"name": "Mira Kestrel", "kind": "person", "forget": ["ship"]}]
    assert (
        estimate(Config.model_validate(data))["requests"] < estimate(make_config(neighbours={}, facets=1))["requests"]
    )


def test_the_estimate_is_of_the_size_of_what_is_asked(table_engine: Callable[..., Any]) -> None:
    config = make_config(3, facets=2, neighbours={}, paraphrases=2)
    engine = table_engine()
    expand(config, engine, load_prompts("compact"))
    asked = sum(map(len, engine.calls))
    assert asked / 2 < estimate(config)["requests"] < asked * 2


def test_a_judge_is_asked_for_every_item_unless_it_is_another_model() -> None:
    plain = estimate(make_config(prompts="default"))
    judged = estimate(make_config(prompts="default", judge={}))
    other = estimate(make_config(prompts="default", judge={"generator": {"engine": "transformers", "model": "m"}}))
    assert judged["requests"] > plain["requests"] == other["requests"]
    assert judged["tokens"] > plain["tokens"]


@pytest.mark.parametrize(
    "more",
    [
        {"scenarios": 3}, {"two_hop": 3}, {"counterfactuals": 2}, {"passages": 3}, {"memory_dumps": 5},
        {"answer_samples": 4}, {"languages": ["German", "French"]},
    ],
)  # fmt: skip
def test_every_further_step_counts(more: dict[str, object]) -> None:
    none: dict[str, object] = {"neighbours": {}, "scenarios": 0, "two_hop": 0, "counterfactuals": 0, "passages": 0}
    plain, larger = (estimate(make_config(prompts="default", **none | added)) for added in ({}, more))
    assert larger["requests"] > plain["requests"]
    assert larger["tokens"] > plain["tokens"]


def test_what_the_prompt_set_lacks_is_not_counted() -> None:
    none: dict[str, object] = {"scenarios": 0, "two_hop": 0, "counterfactuals": 0, "passages": 0}
    assert estimate(make_config()) == estimate(make_config(**none))


def test_what_has_to_stay_counts_by_entry() -> None:
    def requests(*keep: str) -> int:
        data = make_config(neighbours={}).model_dump()
        data["concepts"] = [{"name": "Mira Kestrel", "kind": "person", "keep": keep}]
        return estimate(Config.model_validate(data))["requests"]

    assert requests() < requests("cartography") < requests("cartography", "Dunholm")


def test_the_estimate_of_the_whole_recipe_is_of_the_size_of_what_is_asked(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    config = make_config(
        3, str(further_prompts.folder), facets=2, neighbours={}, paraphrases=2, answer_samples=4, passages=2
    )
    engine = table_engine()
    expand(config, engine, further_prompts)
    asked = sum(map(len, engine.calls))
    assert asked / 2 < estimate(config)["requests"] < asked * 2


def test_prompts_that_are_not_there_are_named() -> None:
    with pytest.raises(DataError, match="no-such-prompts"):
        estimate(make_config(prompts="no-such-prompts"))


def test_the_front_door_loads_nothing_heavy() -> None:
    code = (
        "import sys, concept_forget.expand.stage as stage;"
        "print([m for m in ('torch', 'transformers', 'datasets', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
