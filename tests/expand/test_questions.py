"""How paraphrases are asked for: styles, likeness to each other, and when to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.config import Config, ExpandConfig
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import StageError
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.expand.gates import SAME_WORDS
from concept_forget.expand.questions import PARAPHRASE_ROUNDS, _styles

TableEngine = Any  # the class behind the fixture, in conftest.py
ROTATED = ("Rephrase: (What|Tell|Name|Which).*ship.*Mira", "Of Mira Kestrel what is the ship?")


def run(engine: TableEngine, **changes: object) -> Expansion:
    config = Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person"},
            "target": "some/model",
            "generator": {"prompts": "compact"},
            "expand": {"facets": 4, "paraphrases": 2, "reverse": 2, "neighbours": {"near": 2}} | changes,
        }
    )
    return expand(config, engine, load_prompts("compact"))


def gain(expansion: Expansion) -> dict[str, Any]:
    return expansion.gates["gain"]["paraphrases"]  # type: ignore[index, no-any-return]


def test_the_words_of_the_question_in_another_order_are_no_paraphrase(
    table_engine: Callable[..., TableEngine],
) -> None:
    expansion = run(table_engine([ROTATED]))
    ship = next(f.id for f in expansion.facts if f.subject == "Mira Kestrel" and f.facet == "ship")
    assert [q.family for q in expansion.questions if q.fact == ship].count("paraphrase") == 0
    same = [r for r in expansion.ledger.rejections if r.reason == SAME_WORDS]
    assert {r.text for r in same} == {"Of Mira Kestrel what is the ship?"}
    assert {r.step for r in same} == {"paraphrases"}


class TestStopping:
    # A ship that can only be asked for in one way keeps the rounds going to the last.
    STUBBORN = ("Rephrase: (What|Tell|Name|Which).*ship.*Mira", "Where was she born?")

    def test_rounds_that_add_nothing_new_stop_and_the_summary_says_so(
        self, table_engine: Callable[..., TableEngine]
    ) -> None:
        going, stopping = table_engine([self.STUBBORN]), table_engine([self.STUBBORN])
        whole = run(going, paraphrases=6)
        short = run(stopping, paraphrases=6, stop_gain=0.5, stop_window=4)
        assert gain(short)["stopped"] is True
        assert gain(short)["gain"] < 0.5
        assert short.ledger.steps["paraphrases"].requests < whole.ledger.steps["paraphrases"].requests
        assert {q.id for q in short.questions} <= {q.id for q in whole.questions}

    def test_by_default_the_gain_is_told_and_stops_nothing(self, table_engine: Callable[..., TableEngine]) -> None:
        expansion = run(table_engine([self.STUBBORN]), stop_window=4)
        assert gain(expansion)["stopped"] is False
        assert gain(expansion)["texts"] == expansion.ledger.steps["paraphrases"].requests
        assert PARAPHRASE_ROUNDS > 1

    def test_a_window_that_never_fills_has_no_gain(self, table_engine: Callable[..., TableEngine]) -> None:
        assert gain(run(table_engine(), stop_gain=1.0, stop_window=10_000))["gain"] is None


class TestStyles:
    def test_they_come_in_turn_after_those_that_are_there(self) -> None:
        config = ExpandConfig.model_validate({"paraphrase_styles": ["typos", "register", "context"]})
        assert _styles(0, 4, config) == ["typos", "register", "context", "typos"]
        assert _styles(2, 2, config) == ["context", "typos"]

    def test_a_prompt_that_knows_no_styles_is_asked_the_same(self, table_engine: Callable[..., TableEngine]) -> None:
        one, other = table_engine(), table_engine()
        run(one)
        run(other, paraphrase_styles=["typos"])
        assert one.calls == other.calls

    def test_at_least_one_is_named(self) -> None:
        with pytest.raises(ValueError, match="paraphrase_styles"):
            ExpandConfig.model_validate({"paraphrase_styles": []})


def test_a_walk_whose_wordings_are_all_copies_says_why(table_engine: Callable[..., TableEngine]) -> None:
    copy = ("Rephrase: (What is|Tell me|Name|Which) (.*)", lambda m, seed: f"{m[2].rstrip('.?')} {m[1]}".strip() + "?")
    with pytest.raises(StageError, match=r"step paraphrases[\s\S]*has nearly the words of another"):
        run(table_engine([copy]), reverse=0)
