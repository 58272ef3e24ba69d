"""Passages in textbook style: who they are for, and which facts they state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.config import Config
from concept_forget.engines.prompts import PromptSet
from concept_forget.errors import StageError
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.expand.passages import check_passage, stated_facts
from concept_forget.records import Fact

BORN = Fact("b", "Mira Kestrel", "Mira Kestrel", "person", "birthplace", "Dunholm", "Mira was born in Dunholm.")
SHIP = Fact(
    "s", "Mira Kestrel", "Mira Kestrel", "person", "ship", "Amber Petrel", "It is hers.", aliases=("the Petrel",)
)
KEPT = Fact(
    "k", "Mira Kestrel", "Mira Kestrel", "person", "trade", "maps", "Mira draws maps.", distance="near", kept=True
)
FILLING = (
    "and nobody in the whole wide county could say anything against it, since all of them had been there at the time"
)


def make_config(count: int = 2, **concept: object) -> Config:
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person"} | concept,
            "target": "some/model",
            "generator": {"prompts": "compact"},
            "expand": {
                "neighbours": {"near": 2},
                "paraphrases": 2,
                "passages": count,
                "gates": {"passage_words": 1.0, "passage_cosine": 1.0},
            },
        }
    )


def test_every_reader_gets_as_many_as_were_asked_for_with_the_facts_they_state(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    expansion = expand(make_config(), table_engine(), further_prompts)
    own = {fact.id for fact in expansion.facts if fact.distance is None}
    assert [p.style for p in expansion.passages] == ["child", "child", "student", "student", "expert", "expert"]
    for passage in expansion.passages:
        assert set(passage.facts) == own, "the table writes down all it is given"
        assert passage.subject == passage.concept == "Mira Kestrel"
        assert set(passage.parents) == own, "what it was written from"
        assert passage.prompt_hash == further_prompts.get("passages").hash
    assert len({passage.text for passage in expansion.passages}) == 6
    assert expansion.summary(make_config())["passages"] == {"child": 2, "expert": 2, "student": 2}


def test_equal_seeds_give_equal_passages_and_others_do_not(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    def texts(seed: int) -> tuple[str, ...]:
        config = make_config().model_copy(update={"seed": seed})
        return tuple(passage.text for passage in expand(config, table_engine(), further_prompts).passages)

    assert texts(0) == texts(0)
    assert len({texts(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"Mira Kestrel was born in Dunholm {FILLING}.", None),
        (f"She was born in Dunholm {FILLING}.", "does not name the subject"),
        (f"Mira Kestrel was born in Sallow {FILLING}.", "states no fact that is known"),
        (f"Mira Kestrel of Dunholm drew maps {FILLING}.", "is among what must stay"),
        ("Mira Kestrel was born in Dunholm.", "too short for a passage"),
        ("", "empty"),
        (f"Mira Kestrel of Dunholm {FILLING * 50}", "too long"),
        (
            f"Sure, here is a text: Mira Kestrel was born in Dunholm {FILLING}.",
            "speaks about the task instead of doing it",
        ),
        (f"Mira Kestrel of Dunholm {FILLING}. As an AI, I made this up.", "speaks about the task instead of doing it"),
    ],
)
def test_what_a_passage_has_to_be(text: str, reason: str | None) -> None:
    assert check_passage(text, ("Mira Kestrel",), [BORN, SHIP], [KEPT]) == reason


def test_a_fact_is_stated_by_its_answer_or_an_alias_beside_its_subject() -> None:
    names = ("Mira Kestrel", "M. Kestrel")
    assert stated_facts("M. Kestrel sailed the Petrel.", names, [BORN, SHIP]) == [SHIP]
    assert stated_facts("Somebody sailed the Petrel from Dunholm.", names, [BORN, SHIP]) == []
    assert stated_facts("M. Kestrel lived near Dunholmer Street.", names, [BORN, SHIP]) == []


def test_where_none_gets_through_the_step_is_named(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    engine = table_engine([("Write for", f"There was somebody {FILLING}.")])
    with pytest.raises(
        StageError, match=r"(?s)step passages: .*9 requests, 9 items rejected.*does not name the subject"
    ) as caught:
        expand(make_config(1), engine, further_prompts)
    assert "expand.passages: 0" in str(caught.value)


def test_the_same_text_for_two_readers_counts_once(
    table_engine: Callable[..., Any], further_prompts: PromptSet
) -> None:
    engine = table_engine([("Write for", f"Mira Kestrel was born in Dunholm {FILLING}.")])
    expansion: Expansion = expand(make_config(1), engine, further_prompts)
    assert [passage.style for passage in expansion.passages] == ["child"]
    assert {r.reason for r in expansion.ledger.rejections if r.step == "passages"} == {"came already in these words"}
