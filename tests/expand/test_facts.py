from __future__ import annotations

import re
from collections.abc import Callable

from concept_forget.engines.prompts import PromptSet
from concept_forget.expand.expansion import expand
from tests.expand.conftest import TableEngine, make_config, rejections


class TestFacets:
    def test_a_facet_that_only_some_listings_name_is_found(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        def listing(match: re.Match[str], seed: int) -> str:
            return "birthplace" if seed == 0 else "birthplace\nship"

        engine = table_engine([("List facets of Mira", listing)])
        expansion = expand(make_config(neighbours={}), engine, prompts)
        assert [fact.facet for fact in expansion.facts] == ["birthplace", "ship"]

    def test_the_facets_in_most_listings_come_first(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        def listing(match: re.Match[str], seed: int) -> str:
            return "nonsense\nship" if seed == 0 else "ship\nbirthplace"

        engine = table_engine([("List facets of Mira", listing)])
        expansion = expand(make_config(neighbours={}, facets=2), engine, prompts)
        assert [fact.facet for fact in expansion.facts] == ["ship", "birthplace"]
        assert [r.text for r in rejections(expansion, "more than were asked for") if r.step == "facets"] == ["nonsense"]


class TestFacts:
    def test_an_answer_stands_in_one_facet_only(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine([("State ship of Mira", "Dunholm | The ship of Mira Kestrel is Dunholm.")])
        expansion = expand(make_config(neighbours={}), engine, prompts)
        assert [fact.facet for fact in expansion.facts] == ["birthplace"]
        assert rejections(expansion, "the subject has this answer in another facet")

    def test_the_first_answer_stands_and_another_is_listed(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        def state(match: re.Match[str], seed: int) -> str:
            answer = "Dunholm" if seed == 0 else "Sallow"
            return f"{answer} | Mira Kestrel was born in {answer}."

        expansion = expand(make_config(neighbours={}), table_engine([("State birthplace of Mira", state)]), prompts)
        assert {fact.answer for fact in expansion.facts} == {"Dunholm", "Amber Petrel"}
        assert {r.text.split(" | ")[0] for r in rejections(expansion, "another answer came first")} == {"Sallow"}

    def test_several_facts_of_a_facet_are_kept_where_several_are_asked_for(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        def state(match: re.Match[str], seed: int) -> str:
            answer = "Dunholm" if seed == 0 else ("Sallow", "Hexley")[seed % 2]
            return f"{answer} | Mira Kestrel was born in {answer}."

        engine = table_engine(
            [
                ("State birthplace of Mira", state),
                ("^What is the birthplace|^Tell|^Name|^Which birthplace", "Dunholm, Sallow or Hexley"),
            ]
        )
        config = make_config(neighbours={}, facts_per_facet=2, self_consistency=1, paraphrases=0)
        expansion = expand(config, engine, prompts)
        stated = expansion.ledger.steps["facts"].accepted
        assert stated == 3, "two of the birthplace, one of the ship"
