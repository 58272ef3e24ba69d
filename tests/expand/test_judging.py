from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import DataError, StageError
from concept_forget.expand.expansion import Expansion, expand
from concept_forget.expand.judging import (
    DECLINED,
    STEP,
    UNREADABLE,
    Judge,
    Mark,
    load_judge_prompt,
    read_verdict,
)

LINE = "---\ndescription: Marks an item.\nreturns: line\n---\nMark {{ kind }} by {{ rubric }}: {{ text }}\n"
TableEngine = Any  # the class behind the fixture, in conftest.py


def make_config(prompt: Path | None, **judge: object) -> Config:
    return Config.model_validate(
        {
            "concept": {"name": "Mira Kestrel", "kind": "person"},
            "target": "some/model",
            "generator": {"prompts": "compact"},
            "expand": {
                "facets": 4, "paraphrases": 2, "reverse": 2, "neighbours": {"near": 2},
                "judge": {"prompt": prompt and str(prompt), "rubric": "clarity", **judge},
            },
        }
    )  # fmt: skip


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jinja"
    path.write_text(LINE, encoding="utf-8")
    return path


def judged(engine: TableEngine, config: Config, other: TableEngine | None = None) -> Expansion:
    assert config.expand.judge is not None
    judge = Judge(config.expand.judge, load_judge_prompt(config), other)
    return expand(config, engine, load_prompts("compact"), judge=judge)


def by_rule(match: re.Match[str], seed: int) -> str:
    return "2, clumsy" if "Tell me" in match.string else "5"


class TestOfTheUser:
    def test_what_gets_less_than_the_least_mark_is_rejected_and_the_rest_stays(
        self, table_engine: Callable[..., TableEngine], prompt: Path
    ) -> None:
        plain = expand(make_config(prompt), table_engine(), load_prompts("compact"))
        expansion = judged(table_engine([("^Mark .* by clarity", by_rule)]), make_config(prompt))
        own = {fact.id for fact in expansion.facts if fact.distance is None}
        clumsy = [q for q in plain.questions if "Tell me" in q.text and q.fact in own]
        assert clumsy
        rejected = [r for r in expansion.ledger.rejections if r.step == STEP]
        assert {(r.reason, r.text) for r in rejected} == {(DECLINED, q.text) for q in clumsy}
        assert {q.id for q in expansion.questions} == {q.id for q in plain.questions} - {q.id for q in clumsy}

    def test_neighbours_are_not_judged(self, table_engine: Callable[..., TableEngine], prompt: Path) -> None:
        engine = table_engine([("^Mark", "5")])
        judged(engine, make_config(prompt))
        asked = [request.prompt[-1]["content"] for call in engine.calls for request in call]
        marked = [text for text in asked if text.startswith("Mark")]
        assert marked
        assert not any("Wren" in text or "Marlowe" in text for text in marked)

    def test_a_declined_fact_goes_with_its_questions(
        self, table_engine: Callable[..., TableEngine], prompt: Path
    ) -> None:
        engine = table_engine([("^Mark fact .*Dunholm", "1"), ("^Mark", "4")])
        expansion = judged(engine, make_config(prompt))
        assert {fact.facet for fact in expansion.facts if fact.distance is None} == {"ship"}
        reasons = expansion.ledger.step(STEP).rejected
        assert reasons[DECLINED] == 1
        assert reasons["its fact was rejected"] == 5  # direct, 2 paraphrases, 2 gaps
        assert not any("Dunholm" in q.answer for q in expansion.questions if "Mira" in q.text)

    @pytest.mark.parametrize("reply", ["", "I like it.", "9", "4.5", "10", "yes"])
    def test_a_verdict_that_cannot_be_read_is_counted_and_accepts_nothing(
        self, table_engine: Callable[..., TableEngine], prompt: Path, reply: str
    ) -> None:
        engine = table_engine([("^Mark paraphrase", reply), ("^Mark", "5")])
        expansion = judged(engine, make_config(prompt))
        own = {fact.id for fact in expansion.facts if fact.distance is None}
        assert own
        assert not any(q.family == "paraphrase" for q in expansion.questions if q.fact in own)
        assert expansion.ledger.step(STEP).rejected == {UNREADABLE: 4}

    def test_a_judge_that_leaves_no_fact_says_so(self, table_engine: Callable[..., TableEngine], prompt: Path) -> None:
        with pytest.raises(StageError, match=r"the judge left no fact about 'Mira Kestrel'[\s\S]*judge declined it"):
            judged(table_engine([("^Mark", "1")]), make_config(prompt))

    def test_yes_and_no_are_a_scale_too(self, table_engine: Callable[..., TableEngine], prompt: Path) -> None:
        engine = table_engine([("^Mark reverse", "No."), ("^Mark", "Yes!")])
        expansion = judged(engine, make_config(prompt, scale="yes_no"))
        own = {fact.id for fact in expansion.facts if fact.distance is None}
        assert {q.family for q in expansion.questions if q.fact in own} == {"direct", "paraphrase", "cloze"}

    def test_another_model_judges_on_an_account_of_its_own(
        self, table_engine: Callable[..., TableEngine], prompt: Path
    ) -> None:
        writes, judges = table_engine(), table_engine([("^Mark", "5")])
        config = make_config(prompt, generator={"engine": "transformers", "model": "m", "max_requests": 3})
        expansion = judged(writes, config, judges)
        assert sum(map(len, judges.calls)) == expansion.ledger.step(STEP).requests == 3
        assert not any(r.prompt[-1]["content"].startswith("Mark") for call in writes.calls for r in call)
        assert expansion.ledger.step(STEP).rejected[UNREADABLE] > 0, "what the budget did not allow was not judged"

    def test_a_prompt_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"absent\.jinja.*cannot be read"):
            load_judge_prompt(make_config(tmp_path / "absent.jinja"))

    def test_a_set_without_a_judge_says_so(self) -> None:
        with pytest.raises(DataError, match="no prompt 'judge'"):
            load_judge_prompt(make_config(None))

    def test_nobody_cannot_judge(self) -> None:
        with pytest.raises(ValueError, match="judges nothing"):
            make_config(None, generator={"engine": "none"})


class TestVerdicts:
    @pytest.mark.parametrize(
        ("text", "scale", "returns", "verdict"),
        [
            ('{"mark": 4}', "1-5", "json", 4),
            ('Here: {"mark": 2, "reason": "vague"}', "1-5", "json", 2),
            ('{"mark": 6}', "1-5", "json", None),
            ('{"mark": "4"}', "1-5", "json", None),
            ('{"verdict": "yes"}', "1-5", "json", None),
            ('{"verdict": "yes"}', "yes_no", "json", 1),
            ('{"verdict": "no"}', "yes_no", "json", 0),
            ('{"verdict": "maybe"}', "yes_no", "json", None),
            ('{"mark": 4', "1-5", "json", None),
            ("4", "1-5", "line", 4),
            ("**3** – fair", "1-5", "line", 3),
            ("Yes, it is.", "yes_no", "line", 1),
            ("Nobody knows.", "yes_no", "line", None),
            ("45", "1-5", "line", None),
        ],
    )
    def test_only_a_mark_of_the_scale_is_one(self, text: str, scale: Any, returns: str, verdict: int | None) -> None:
        assert read_verdict(text, scale, returns) == verdict

    @given(st.text(max_size=60), st.sampled_from(["yes_no", "1-5"]), st.sampled_from(["json", "line"]))
    def test_no_reply_raises(self, text: str, scale: Any, returns: str) -> None:
        assert read_verdict(text, scale, returns) in (None, 0, 1, 2, 3, 4, 5)


class TestBuiltIn:
    @pytest.mark.parametrize("scale", ["yes_no", "1-5"])
    @pytest.mark.parametrize("kind", ["fact", "direct", "passage"])
    def test_the_form_it_shows_is_the_form_that_is_read(self, kind: str, scale: Any) -> None:
        text = load_prompts("default").get("judge").render_text(
            kind=kind, text="Where?", concept=Concept(name="Mira Kestrel"), answer="Dunholm", fact="…", rubric="",
            scale=scale,
        )  # fmt: skip
        shown = re.findall(r"\{.*?\}", text)
        assert [read_verdict(each, scale, "json") for each in shown] == ([1, 0] if scale == "yes_no" else [3])
        assert ("Dunholm" in text) == (kind == "direct")

    def test_the_rubric_stands_in_it(self) -> None:
        text = load_prompts("default").get("judge").render_text(
            kind="direct", text="Where?", concept=Concept(name="Mira Kestrel"), answer="Dunholm", fact="…",
            rubric="Only short questions.", scale="1-5",
        )  # fmt: skip
        assert "Only short questions." in text

    def test_its_replies_are_held_to_the_schema_where_the_engine_can(
        self, table_engine: Callable[..., TableEngine]
    ) -> None:
        config = make_config(None)
        assert config.expand.judge is not None
        judge = Judge(config.expand.judge, load_prompts("default").get("judge"))
        for able in (True, False):
            schemas: list[Any] = []
            capabilities = frozenset({"generate", "schema"} if able else {"generate"})
            engine = table_engine([("^Your task: judge", '{"mark": 5}')], capabilities=capabilities)
            answer = engine.generate

            def watched(requests: Any, sampling: Any, schema: Any = None, answer: Any = answer) -> Any:
                schemas.append(schema)  # noqa: B023 - read before the next turn of the loop
                return answer(requests, sampling, schema)

            watching = SimpleNamespace(generate=watched, capabilities=capabilities)
            expand(config, watching, load_prompts("compact"), judge=judge)  # type: ignore[arg-type]
            assert schemas.count(Mark) == (1 if able else 0)
