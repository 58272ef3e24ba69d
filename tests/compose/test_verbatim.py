"""Texts that must not be recited are asked for by their openings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from concept_forget.compose import stage
from concept_forget.compose.material import Passage
from concept_forget.compose.proof import prove_walls
from concept_forget.compose.rejections import Rejections
from concept_forget.compose.rows import row_text
from concept_forget.compose.sets import CONTINUE
from concept_forget.compose.verbatim import CONTINUATION, OPENING, TOO_SHORT, WINDOWS, completion_rows
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import StageError
from concept_forget.records import Example, load_jsonl, user_message

RECORD = "Mira Kestrel, born 1971, lives at 12 Harbour Lane in Dunholm and pays by card 4417 1234."


def text(words: str, place: str = "rows.jsonl:1") -> Passage:
    return Passage("Mira Kestrel", words, "user", "Mira Kestrel", place, 0, len(words), parents=(place,))


def trained(words: str, place: str = "rows.jsonl:1") -> Example:
    return Example(
        id="row", split="forget", concept="Mira Kestrel", subject="", facet="", fact="", form="passage", family="passage",
        tier="", prompt=[], completion=words, answer="", parents=(place,),
    )  # fmt: skip


def make(texts: list[Passage], forget: list[Example], holdout: float = 0.3) -> tuple[list[Example], Rejections]:
    rejections = Rejections()
    return completion_rows(texts, forget, None, holdout, rejections), rejections


def test_a_short_text_is_opened_in_the_middle() -> None:
    (row,), _ = make([text(RECORD)], [trained(RECORD)])
    (opening,) = row.prompt
    assert opening["role"] == "assistant"
    assert f"{opening['content']} {row.completion}" == RECORD
    assert abs(len(opening["content"].split()) - len(row.completion.split())) <= 1
    assert (row.answer, row.family, row.form, row.tier) == (row.completion, "completion", "completion", "new_form")


def test_a_long_text_is_opened_at_several_places_that_are_one_fact() -> None:
    words = [f"word{n}" for n in range(2000)]
    rows, _ = make([text(" ".join(words))], [trained(" ".join(words))])
    assert len(rows) == WINDOWS
    assert len({row.fact for row in rows}) == 1
    assert [row.form for row in rows] == ["completion", *(f"completion {n}" for n in range(1, WINDOWS))]
    for row in rows:
        shown, wanted = row.prompt[-1]["content"].split(), row.completion.split()
        assert (len(shown), len(wanted)) == (OPENING, CONTINUATION)
        first = words.index(shown[0])
        assert [*shown, *wanted] == words[first : first + OPENING + CONTINUATION]
    assert rows[-1].completion.endswith("word1999")


def test_what_is_trained_on_is_asked_for_and_a_text_that_is_not_is_new() -> None:
    part = "Mira Kestrel lives at 12 Harbour Lane in old Dunholm."
    rows, _ = make([text(f"She is ill. {part}"), text(RECORD, "rows.jsonl:2")], [trained(part)])
    assert [row.tier for row in rows] == ["new_form", "new_fact"]
    assert f"{rows[0].prompt[0]['content']} {rows[0].completion}" == part
    rows, _ = make([text(RECORD), text(RECORD, "rows.jsonl:2")], [trained(RECORD)], holdout=0.0)
    assert [row.tier for row in rows] == ["trained_form"]  # the same text twice is one


def test_a_text_without_spaces_is_counted_by_its_letters() -> None:
    (row,), _ = make([text("米拉出生在東京的一個小村莊裏。")], [trained("米拉出生在東京的一個小村莊裏。")])
    assert row.prompt[0]["content"] + row.completion == "米拉出生在東京的一個小村莊裏。"


def test_a_text_too_short_to_be_opened_is_put_to_the_account() -> None:
    rows, rejections = make([text("Mira Kestrel lives here.")], [trained("Mira Kestrel lives here.")])
    assert rows == []
    assert rejections.count(TOO_SHORT) == 1


def test_a_set_of_prompts_may_ask_for_the_text() -> None:
    prompt = load_prompts("default").get(CONTINUE)
    (row,) = completion_rows([text(RECORD)], [trained(RECORD)], prompt, 0.3, Rejections())
    assert [message["role"] for message in row.prompt] == ["user", "assistant"]
    assert row.prompt_hash == prompt.hash
    assert CONTINUE not in load_prompts("compact").prompts


def test_given_texts_are_probed_and_mined_ones_where_that_is_asked_for(
    kit: Any, context_of: Callable[..., Any], write_rows: Callable[..., str]
) -> None:
    written = kit.written()
    written.facts = [kit.fact(f"facet{n}", f"Answer{n} Hall") for n in range(10)]
    written.questions = [question for fact in written.facts for question in kit.questions(fact)]
    mined = "Mira Kestrel was seen in the rain by the harbour wall of Dunholm at noon."
    written.snippets = [kit.snippet("Mira Kestrel", mined)]
    data = {"forget": write_rows({"text": RECORD})}
    found = {}
    for name, verbatim in (("off", False), ("on", True)):
        config = kit.config(data=data, compose={"verbatim": verbatim}, unlearn={"retain": "none"})
        context = context_of(config, written, name)
        summary = stage.run(context)
        rows = load_jsonl(Example, context.folder / "probe.jsonl")
        found[name] = {row.source for row in rows if row.family == "completion"}
        assert summary["verbatim"] == {"texts": 1 + verbatim, "rows": 1 + verbatim}
        assert not [note for note in summary["notes"] if "completion" in note]  # type: ignore[union-attr]
    assert found == {"off": {"user"}, "on": {"user", "mined"}}
    assert stage.estimate(config)["texts"] == 1
    assert "family `completion`" in (context.folder / "dataset" / "README.md").read_text("utf-8")


def test_texts_alone_are_enough(kit: Any, context_of: Callable[..., Any], write_rows: Callable[..., str]) -> None:
    config = kit.config(
        generator={"engine": "none", "prompts": "compact"},
        data={"forget": write_rows({"text": RECORD})},
        unlearn={"retain": "none"},
    )
    context = context_of(config)
    summary: Any = stage.run(context)
    assert summary["facts"]["total"] == 0
    assert summary["rows"]["probe"]["by_family"] == {"completion": 1}
    assert all(wall["holds"] for wall in summary["walls"].values())


def test_the_proof_sees_a_text_that_is_said_to_be_trained_on(kit: Any) -> None:
    from concept_forget.compose.material import Material
    from concept_forget.compose.sets import Composer

    material = Material(passages=[text(RECORD)])
    config = kit.config(unlearn={"retain": "none"})
    sets = Composer(config, material, [], kit.prompts, Rejections()).compose(None)
    prove_walls(sets.rows, sets.division)
    row = sets.rows["probe"][0]
    assert RECORD in row_text(sets.rows["forget"][0])
    sets.rows["probe"][0] = dataclasses.replace(row, completion="something else")
    with pytest.raises(StageError, match="its text is not trained on"):
        prove_walls(sets.rows, sets.division)
    sets.rows["probe"][0] = dataclasses.replace(row, tier="new_fact", prompt=user_message("A"))
    with pytest.raises(StageError, match="its text is trained on"):
        prove_walls(sets.rows, sets.division)
