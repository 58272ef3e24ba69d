from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concept_forget.engines.prompts import PromptSet, load_prompts
from concept_forget.errors import StageError
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.records import Question
from tests.expand.conftest import MIRA, TableEngine, make_config, questions, rejections


@pytest.fixture(scope="module")
def expansion(table_engine: Callable[..., TableEngine], prompts: PromptSet) -> Expansion:
    return expand(make_config(), table_engine(), prompts)


class TestWholeWalk:
    def test_own_facts_carry_no_distance_and_neighbours_carry_theirs(self, expansion: Expansion) -> None:
        assert {(f.subject, f.concept, f.distance) for f in expansion.facts} == {
            ("Mira Kestrel", "Mira Kestrel", None),
            ("Ilse Marlowe", "Mira Kestrel", "near"),
            ("Tobias Wren", "Mira Kestrel", "near"),
        }

    def test_a_fact_has_every_family_of_questions(self, expansion: Expansion) -> None:
        forms = [question.form for question in expansion.questions if question.answer == "Amber Petrel"]
        assert forms == ["direct", "paraphrase 1", "paraphrase 2", "cloze", "cloze 1"]
        assert [q.form for q in questions(expansion, "Mira Kestrel", "ship", "reverse")] == ["reverse", "reverse 1"]

    def test_a_reverse_question_is_answered_by_the_subject(self, expansion: Expansion) -> None:
        assert {q.answer for q in questions(expansion, "Mira Kestrel", "ship", "reverse")} == {"Mira Kestrel"}

    def test_an_answer_that_subjects_share_is_not_asked_back(self, expansion: Expansion) -> None:
        assert questions(expansion, "Mira Kestrel", "birthplace", "reverse") == []
        assert [r.text for r in rejections(expansion, "several subjects share the answer")] == ["Dunholm"] * 2

    def test_two_sentences_make_two_gaps_as_the_prompt_puts_them(self, expansion: Expansion) -> None:
        texts = {q.text for q in questions(expansion, "Mira Kestrel", "ship", "cloze")}
        assert texts == {"Fill in: The ship of Mira Kestrel is ____.", "Fill in: Mira Kestrel has the ship ____."}

    def test_refusals_vary_and_stand_with_own_questions_only(self, expansion: Expansion) -> None:
        own = {fact.id for fact in expansion.facts if fact.distance is None}
        assert len({q.refusal for q in expansion.questions if q.fact in own}) > 1
        assert {q.refusal for q in expansion.questions if q.fact not in own} == {""}

    def test_every_question_leads_back_to_its_fact(self, expansion: Expansion) -> None:
        ids = {fact.id for fact in expansion.facts} | {question.id for question in expansion.questions}
        for question in expansion.questions:
            assert set(question.parents) <= ids
            assert question.prompt_hash

    def test_wordings_never_repeat(self, expansion: Expansion) -> None:
        texts = [question.text for question in expansion.questions]
        assert len(texts) == len(set(texts))

    def test_the_summary_counts_what_was_kept(self, expansion: Expansion) -> None:
        summary = expansion.summary(make_config())
        assert summary["facts"] == {"Mira Kestrel": 2}
        assert summary["neighbours"] == {"near": 2, "middle": 0, "far": 0}
        assert summary["neighbour_facts"] == {"near": 3, "middle": 0, "far": 0}
        assert sum(summary["questions"].values()) == len(expansion.questions)  # type: ignore[attr-defined]


def test_equal_configs_give_equal_bytes_and_another_seed_draws_otherwise(
    table_engine: Callable[..., TableEngine], prompts: PromptSet
) -> None:
    def run(seed: int) -> tuple[object, ...]:
        expansion = expand(make_config().model_copy(update={"seed": seed}), table_engine(), prompts)
        return expansion.facts, expansion.questions, expansion.ledger.rejected_jsonl()

    assert run(0) == run(0)
    assert len({run(seed) for seed in range(4)}) > 1


def test_the_whole_recipe_gives_equal_bytes_too(
    table_engine: Callable[..., TableEngine], further_prompts: PromptSet
) -> None:
    def run(seed: int) -> Expansion:
        config = make_config({**MIRA, "keep": ["home"]}, answer_samples=2, passages=2).model_copy(update={"seed": seed})
        return expand(config, table_engine(), further_prompts)

    def written(expansion: Expansion) -> tuple[object, ...]:
        summary = json.dumps(expansion.summary(make_config()))
        ledger = expansion.ledger.rejected_jsonl()
        return expansion.facts, expansion.questions, expansion.passages, ledger, summary

    assert written(run(0)) == written(run(0))
    assert {question.family for question in run(0).questions} >= {"scenario", "two_hop"}
    for name in ("questions", "passages"):
        assert len({getattr(run(seed), name) for seed in range(4)}) > 1


def test_what_one_concept_draws_does_not_hang_on_the_others(
    table_engine: Callable[..., TableEngine], prompts: PromptSet
) -> None:
    def own_questions(concepts: list[object]) -> list[Question]:
        expansion = expand(make_config(concepts, neighbours={}), table_engine(), prompts)
        own = {fact.id for fact in expansion.facts if fact.subject == "Tobias Wren"}
        return [question for question in expansion.questions if question.fact in own]

    tobias = {"name": "Tobias Wren", "kind": "person"}
    assert own_questions([tobias]) == own_questions([MIRA, tobias])


def test_all_concepts_share_the_engine_calls(table_engine: Callable[..., TableEngine], prompts: PromptSet) -> None:
    many = [MIRA, *({"name": name, "kind": "person"} for name in ("Ilse Marlowe", "Tobias Wren"))]
    one, three = table_engine(), table_engine()
    expand(make_config(neighbours={}), one, prompts)
    expand(make_config(many, neighbours={}), three, prompts)
    assert len(three.calls) <= len(one.calls) + 2
    assert sum(map(len, three.calls)) > 2 * sum(map(len, one.calls))


def test_every_item_of_every_reply_is_used_or_listed(
    table_engine: Callable[..., TableEngine], prompts: PromptSet
) -> None:
    expansion = expand(make_config(), table_engine(), prompts)
    for step in ("neighbours", "paraphrases"):  # one item per reply
        account = expansion.ledger.steps[step]
        assert account.accepted + account.rejected.total() == account.requests
    assert sum(a.rejected.total() for a in expansion.ledger.steps.values()) == len(expansion.ledger.rejections)
    for line in expansion.ledger.rejected_jsonl().splitlines():
        row = json.loads(line)
        assert set(row) == {"step", "reason", "text", "parents"}
        assert row["parents"]


class TestConcept:
    def test_the_facets_that_a_concept_names_are_the_only_ones(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        expansion = expand(make_config({**MIRA, "forget": ["ship"]}, neighbours={}), table_engine(), prompts)
        assert [fact.facet for fact in expansion.facts] == ["ship"]
        assert expansion.ledger.step("facets").requests == 0

    def test_what_has_to_stay_is_not_expanded(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        expansion = expand(make_config({**MIRA, "keep": ["birthplace"]}, neighbours={}), table_engine(), prompts)
        assert [fact.facet for fact in expansion.facts if not fact.kept] == ["ship"]
        assert {r.text for r in rejections(expansion, "is among what must stay")} == {"birthplace"}

    def test_a_concept_is_never_its_own_or_another_concepts_neighbour(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        concepts = [MIRA, {"name": "T. Wren", "kind": "person", "aliases": ["Tobias Wren"]}]
        data = {"forget": [{"path": "rows.jsonl", "concept": "T. Wren"}]}
        expansion = expand(make_config(concepts, data=data), table_engine(), prompts)
        assert {fact.subject for fact in expansion.facts if fact.distance} == {"Ilse Marlowe"}
        assert rejections(expansion, "names a concept to forget")

    def test_a_neighbours_fact_that_names_a_concept_is_refused(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine([("State ship of Tobias", "Mira Kestrel | The ship of Tobias Wren is Mira Kestrel.")])
        expansion = expand(make_config(), engine, prompts)
        assert [r.parents for r in rejections(expansion, "names a concept to forget")] == [("Tobias Wren", "ship")]


class TestQuestions:
    def test_a_greedy_question_that_fails_gets_a_second_try(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        def ask(match: re.Match[str], seed: int) -> str:
            return "Where was she born?" if seed == 0 else "Where was Mira Kestrel born?"

        rules = [("Ask birthplace of Mira", ask), ("Rephrase: Where", "no"), ("^Where was Mira", "Dunholm")]
        engine = table_engine(rules)
        expansion = expand(make_config(neighbours={}, self_consistency=1), engine, prompts)
        assert [q.text for q in questions(expansion, "Mira Kestrel", "birthplace", "direct")] == [
            "Where was Mira Kestrel born?"
        ]
        assert [r.text for r in rejections(expansion, "does not name the subject")][:1] == ["Where was she born?"]

    def test_a_fact_that_cannot_be_asked_for_is_rejected(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine([("Ask birthplace of Mira", "Was Mira Kestrel born in Dunholm?")])
        expansion = expand(make_config(neighbours={}), engine, prompts)
        assert [fact.facet for fact in expansion.facts] == ["ship"]
        assert rejections(expansion, "no direct question about the fact")
        assert rejections(expansion, "gives its answer away")

    def test_without_reverse_and_paraphrases_neither_is_asked_for(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine()
        expansion = expand(
            make_config(reverse=0, paraphrases=0, neighbour_paraphrases=0, self_consistency=1), engine, prompts
        )
        assert {question.family for question in expansion.questions} == {"direct", "cloze"}
        assert "paraphrases" not in expansion.ledger.steps


class TestFailures:
    @pytest.mark.parametrize(
        ("rule", "step", "remedy"),
        [
            (("List facets of Mira", "\n"), "facets", "generator"),
            (("State .* of Mira", "no bar here"), "facts", "generator"),
            (("Ask .* of Mira", "Sure, a question:"), "questions", "rejected.jsonl"),
            (("Rephrase", "Where?"), "paraphrases", "rejected.jsonl"),
            (("Name one", "Mira Kestrel | person"), "neighbours", "expand.neighbours"),
            (("^(What|Tell|Name|Which)", "Paris"), "answers", "self_consistency"),
        ],
    )
    def test_a_step_that_gives_nothing_says_which_how_much_and_why(
        self,
        table_engine: Callable[..., TableEngine],
        prompts: PromptSet,
        rule: tuple[str, str],
        step: str,
        remedy: str,
    ) -> None:
        with pytest.raises(StageError, match=rf"step {step}: .*\d+ requests, \d+ items rejected") as caught:
            expand(make_config(neighbours={"near": 2} if step == "neighbours" else {}), table_engine([rule]), prompts)
        message = str(caught.value)
        assert re.search(r"\d+ × .*, such as ", message)
        assert remedy in message.splitlines()[-1]

    def test_a_concept_without_a_fact_is_named(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        concepts = [MIRA, {"name": "Nobody Known", "kind": "person", "forget": ["ship"]}]
        with pytest.raises(StageError, match="no fact about 'Nobody Known' was left"):
            expand(make_config(concepts, neighbours={}), table_engine(), prompts)

    @pytest.mark.parametrize("file", [{"path": "rows.jsonl"}, {"path": "rows.jsonl", "concept": "nobody known"}])
    def test_rows_of_its_own_make_up_for_it(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet, file: dict[str, str]
    ) -> None:
        concepts = [MIRA, {"name": "Nobody Known", "kind": "person", "forget": ["ship"]}]
        config = make_config(concepts, neighbours={}, data={"forget": [file]})
        assert expand(config, table_engine(), prompts).summary(config)["facts"] == {
            "Mira Kestrel": 2,
            "Nobody Known": 0,
        }

    def test_replies_that_were_cut_off_are_listed_as_such(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine(finish_reason="length")
        with pytest.raises(StageError, match="the reply was cut off"):
            expand(make_config(neighbours={}), engine, prompts)

    def test_asking_for_neighbours_ends_when_nothing_new_comes(
        self, table_engine: Callable[..., TableEngine], prompts: PromptSet
    ) -> None:
        engine = table_engine()
        expansion = expand(make_config(neighbours={"near": 50}), engine, prompts)
        assert len({fact.subject for fact in expansion.facts if fact.distance}) == 2
        rounds = [call for call in engine.calls if "Name one" in call[0].prompt[-1]["content"]]
        assert len(rounds) == 3, "one that finds both, two without a new name"


@given(noise=st.dictionaries(st.integers(0, 15), st.text(max_size=60), max_size=16), shift=st.integers(0, 1000))
@settings(max_examples=60)
def test_no_reply_breaks_the_walk(
    table_engine: Callable[..., TableEngine], prompts: PromptSet, noise: dict[int, str], shift: int
) -> None:
    """A share of the replies is noise; what comes out is an expansion or a StageError, whatever the noise."""

    plain = table_engine()

    def reply(match: re.Match[str], seed: int) -> str:
        place = (len(match[0]) + seed + shift) % 16
        return noise[place] if place in noise else plain.reply_to(match[0], seed)

    engine = table_engine([(r"(?s)\A.*\Z", reply)])
    try:
        expansion = expand(make_config(), engine, prompts)
    except StageError:
        return
    for line in expansion.ledger.rejected_jsonl().encode("utf-8").splitlines():
        assert json.loads(line)["reason"]
    assert {question.fact for question in expansion.questions} == {fact.id for fact in expansion.facts}


def test_prompts_of_ones_own_are_read_from_a_folder(
    table_engine: Callable[..., TableEngine], prompts: PromptSet, tmp_path: Path
) -> None:
    for prompt in prompts.prompts.values():
        (tmp_path / prompt.path.name).write_text(prompt.path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "refusals.jinja").write_text(
        "---\ndescription: Declines.\nreturns: line\n---\nSay no to this: {{ question }}\n", encoding="utf-8"
    )
    engine = table_engine([("Say no to this", "No.")])
    expansion = expand(make_config(neighbours={}), engine, load_prompts(tmp_path))
    assert {question.refusal for question in expansion.questions} == {"No."}
