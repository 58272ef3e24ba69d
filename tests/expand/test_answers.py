from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from concept_forget.engines.prompts import PromptSet
from concept_forget.expand.expansion import expand
from tests.expand.conftest import MIRA, TableEngine, make_config, questions, rejections


class TestAnswers:
    def test_a_fact_that_its_wordings_do_not_confirm_is_rejected_with_its_questions(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine([("^(What|Tell|Name|Which).*birthplace.*Mira", "Sallow")])
        expansion = expand(make_config(neighbours={}, reverse=0), engine, prompts)
        assert [fact.facet for fact in expansion.facts] == ["ship"]
        (rejected,) = rejections(expansion, "the wordings do not agree on the fact's answer")
        assert rejected.text.startswith("Dunholm | ")
        assert len(rejections(expansion, "its fact was rejected")) == 5, "direct, 2 paraphrases, 2 gaps"

    @pytest.mark.parametrize(("needed", "kept"), [(1, True), (2, True), (3, False)])
    def test_as_many_wordings_have_to_agree_as_the_config_says(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet, needed: int, kept: bool
    ) -> None:
        seen: dict[str, str] = {}

        def wavering(match: re.Match[str], seed: int) -> str:
            # The first wording that is asked gets a wrong answer, the other two the right one.
            return seen.setdefault(match[0], "nobody knows" if not seen else "Dunholm")

        engine = table_engine([("^(What|Tell|Name|Which).*birthplace.*Mira", wavering)])
        expansion = expand(make_config(neighbours={}, self_consistency=needed), engine, prompts)
        assert ("birthplace" in {fact.facet for fact in expansion.facts}) is kept

    def test_a_wording_that_asks_for_another_fact_is_rejected_and_an_unanswered_one_stays(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine(
            [
                ("Rephrase: .*ship", lambda match, seed: ("Which Mira Kestrel?", "And Mira Kestrel?")[seed % 2]),
                ("^Which Mira", "Dunholm"),
                ("^And Mira", "nothing"),
            ]
        )
        expansion = expand(make_config(neighbours={}, self_consistency=1), engine, prompts)
        assert [q.text for q in questions(expansion, "Mira Kestrel", "ship", "paraphrase")] == ["And Mira Kestrel?"]
        assert [r.text for r in rejections(expansion, "asks for another fact of the subject")] == [
            "Which Mira Kestrel? → Dunholm"
        ]

    def test_a_question_back_that_does_not_lead_to_the_subject_is_rejected(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine([("^Whose ship is Amber", "Tobias Wren")])
        expansion = expand(make_config(neighbours={}), engine, prompts)
        kept = questions(expansion, "Mira Kestrel", "ship", "reverse")
        assert "Whose ship is Amber Petrel?" not in [q.text for q in kept]
        assert [r.text for r in rejections(expansion, "answer does not identify the subject")] == [
            "Whose ship is Amber Petrel? → Tobias Wren"
        ]
        assert [q.variant for q in kept] == list(range(len(kept)))

    def test_a_reply_that_names_an_alias_leads_back_to_the_subject(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine([("^(Whose|Name the owner|Amber)", "It is M. Kestrel.")])
        expansion = expand(make_config({**MIRA, "aliases": ["M. Kestrel"]}, neighbours={}), engine, prompts)
        assert questions(expansion, "Mira Kestrel", "ship", "reverse")


class TestRefusals:
    def test_a_refusal_that_tells_is_rejected_and_the_question_goes_without(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine([("Decline: .*ship of Mira", "I cannot say that it is the Amber Petrel.")])
        expansion = expand(make_config(neighbours={}), engine, prompts)
        assert {q.refusal for q in questions(expansion, "Mira Kestrel", "ship", "direct")} == {""}
        assert all(q.refusal for q in questions(expansion, "Mira Kestrel", "birthplace", "direct"))
        assert rejections(expansion, "gives its answer away")

    def test_the_refusal_of_a_question_back_may_not_name_the_subject(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine([("Decline: .*Amber Petrel", "I never heard of Mira Kestrel.")])
        expansion = expand(make_config(neighbours={}), engine, prompts)
        assert {q.refusal for q in questions(expansion, "Mira Kestrel", "ship", "reverse")} == {""}
