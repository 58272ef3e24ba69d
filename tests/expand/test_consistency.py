"""Self-consistency: a fact stays when a share of the drawn answers is its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import StageError
from concept_forget.expand.expansion import Expansion, expand

SAMPLES = 5


def make_config(*, agreement: float = 0.5, data: object = None, **generator: object) -> Config:
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person"},
            "target": "some/model",
            "generator": {"prompts": "compact"} | generator,
            "expand": {
                "neighbours": {}, "paraphrases": 0, "reverse": 0, "self_consistency": 1,
                "answer_samples": SAMPLES, "answer_agreement": agreement,
            },
            "data": data or {},
        }
    )  # fmt: skip


def run(table_engine: Callable[..., Any], config: Config, right: int) -> Expansion:
    """An expansion whose generator draws the right birthplace ``right`` times, and always answers it greedily."""
    drawn: list[int] = []

    def answer(match: re.Match[str], seed: int) -> str:
        if seed == 0:
            return "Dunholm"
        drawn.append(seed)
        return "In Dunholm, I think." if len(drawn) <= right else "Sallow"

    engine = table_engine([("^What is the birthplace of Mira Kestrel", answer)])
    return expand(config, engine, load_prompts("compact"))


@pytest.mark.parametrize(("right", "kept"), [(5, True), (3, True), (2, False), (0, False)])
def test_the_share_of_the_drawn_answers_decides(table_engine: Callable[..., Any], right: int, kept: bool) -> None:
    expansion = run(table_engine, make_config(), right)
    assert ("birthplace" in {fact.facet for fact in expansion.facts}) is kept
    rejected = [r for r in expansion.ledger.rejections if r.reason == "too few of the drawn answers are the fact's"]
    assert [r.text.rsplit(" | ", 1)[1] for r in rejected] == ([] if kept else [f"{right} of 5"])
    assert expansion.summary(make_config())["self_consistency"] == {
        "samples": SAMPLES,
        "agreement": 0.5,
        "facts": 2,
        "mean_share": (right / SAMPLES + 1) / 2,
        "rejected": 0 if kept else 1,
    }


def test_every_draw_has_a_seed_of_its_own(table_engine: Callable[..., Any]) -> None:
    engine = table_engine()
    expand(make_config(), engine, load_prompts("compact"))
    (drawn,) = [call for call in engine.calls if call[0].seed and call[0].prompt[-1]["content"].startswith("What is")]
    assert len(drawn) == 2 * SAMPLES
    assert len({request.seed for request in drawn}) == 2 * SAMPLES


def test_without_samples_nothing_is_drawn(table_engine: Callable[..., Any]) -> None:
    config = Config.model_validate({**make_config().model_dump(), "expand": {"neighbours": {}}})
    expansion = expand(config, table_engine(), load_prompts("compact"))
    assert "answer_samples" not in expansion.ledger.steps


def test_a_concept_that_loses_all_its_facts_is_named_with_the_step(table_engine: Callable[..., Any]) -> None:
    engine = table_engine([("^What is", lambda match, seed: "Sallow" if seed else _greedy(match.string))])
    with pytest.raises(StageError, match=r"step answer_samples: no fact about 'Mira Kestrel' was left") as caught:
        expand(make_config(), engine, load_prompts("compact"))
    assert "expand.answer_agreement" in str(caught.value)
    expansion = expand(make_config(data={"forget": [{"path": "rows.jsonl"}]}), engine, load_prompts("compact"))
    assert not expansion.facts, "rows of one's own make up for them"


def test_a_fact_whose_answers_the_budget_has_no_room_for_is_not_judged(table_engine: Callable[..., Any]) -> None:
    engine = table_engine([("^What is", lambda match, seed: "Sallow" if seed else _greedy(match.string))])
    plain = Config.model_validate(
        {**make_config().model_dump(), "expand": {**make_config().expand.model_dump(), "answer_samples": 0}}
    )
    counting = table_engine()
    expansion = expand(plain, counting, load_prompts("compact"))
    before = sum(expansion.ledger.steps[step].requests for step in ("facets", "facts", "questions", "answers"))
    kept = expand(make_config(max_requests=before), engine, load_prompts("compact"))
    assert len(kept.facts) == 2
    assert kept.ledger.steps["answer_samples"].rejected == {"over the budget: not asked": 2 * SAMPLES}


def test_drawn_answers_need_a_temperature() -> None:
    with pytest.raises(ValueError, match="temperature"):
        make_config(temperature=0)


def _greedy(prompt: str) -> str:
    return "Dunholm" if "birthplace" in prompt else "Amber Petrel"
