from __future__ import annotations

import json
from typing import Any

import pytest

from concept_forget.errors import ConceptForgetError
from concept_forget.exports.layout import Layout, Subset, Turns, read_turns, split_plain
from concept_forget.records import Chat, Example


def example(text: str, prompt: Chat | None = None) -> Example:
    asked = [{"role": "user", "content": f"{text}?"}] if prompt is None else prompt
    return Example(
        id=Example.make_id(asked, text), split="forget", concept="M", subject="M", facet="", fact="", form="direct",  # type: ignore[arg-type]
        family="direct", tier="", prompt=asked, completion=text, answer=text,  # type: ignore[arg-type]
    )  # fmt: skip


def message(role: Any, content: str) -> Any:
    return {"role": role, "content": content}


HERE = Subset("default", "forget")


def test_a_row_that_found_no_place_is_a_fault() -> None:
    rows = [example("a"), example("b"), example("c")]
    layout = Layout()
    layout.add_json("a.json", rows[:1], lambda row: {"text": row.completion}, "texts", HERE)
    layout.leave_out(rows[1:2], "no place")
    with pytest.raises(ConceptForgetError, match="lose rows without saying so: 1 of forget"):
        layout.check(rows)
    layout.leave_out(rows, "no place either")
    layout.check(rows)
    assert dict(layout.left_out) == {("forget", "no place"): 1, ("forget", "no place either"): 1}


def test_a_table_without_rows_is_no_file_and_is_told_of() -> None:
    layout = Layout()
    layout.add_json("a/x.json", [], lambda row: {}, "texts", HERE)
    layout.add_json("b/x.json", [], lambda row: {}, "texts", HERE)
    assert (layout.files, layout.subsets) == ({}, {})
    assert layout.absent == {"texts": ["a/x.json", "b/x.json"]}


@pytest.mark.parametrize(
    ("values", "warns"),
    [
        (["2012-01-01", "2013-05-06"], True),
        (["2012-01-01T10:00:00Z", "2012-01-01 10:00"], True),
        (["2012-01-01", "in 2013"], False),
        (["2012", "2013"], False),
    ],
)
def test_columns_that_would_be_read_as_dates_are_told_of(values: list[str], warns: bool) -> None:
    for add in (Layout.add_json, Layout.add_lines):
        layout = Layout()
        add(layout, "a.json", [example(value) for value in values], lambda r: {"x": r.completion, "y": "z"}, "", HERE)
        assert bool(layout.notes) is warns
        assert all("Every `x` in `a.json`" in note for note in layout.notes)


def test_json_keeps_texts_as_they_are() -> None:
    layout = Layout()
    texts = ['=1+1, "q"', "a\nb\r\nc", "漢字 \u2028 🜁", "tab\t\\n"]
    rows = [example(text) for text in texts]
    layout.add_json("a.json", rows, lambda row: {"x": row.completion}, "", HERE)
    layout.add_lines("a.jsonl", rows, lambda row: {"x": row.completion}, "", HERE)
    assert [item["x"] for item in json.loads(layout.files["a.json"])] == texts
    lines = layout.files["a.jsonl"].decode().split("\n")
    assert [json.loads(line)["x"] for line in lines if line] == texts


SYSTEM, ASKED, SAID = message("system", "s"), message("user", "u"), message("assistant", "a")


@pytest.mark.parametrize(
    ("prompt", "turns"),
    [
        ([ASKED], Turns("u")),
        ([SYSTEM, ASKED], Turns("u", "s")),
        ([ASKED, SAID, message("user", "v")], Turns("v", "", (("u", "a"),))),
        ([SYSTEM, ASKED, SAID, ASKED, SAID, message("user", "v")], Turns("v", "s", (("u", "a"), ("u", "a")))),
        ([ASKED, ASKED], None),
        ([ASKED, SAID], None),
        ([ASKED, SYSTEM, ASKED], None),
        ([SYSTEM], None),
        ([], None),
    ],
)
def test_a_chat_is_read_as_turns_where_it_takes_turns(prompt: Chat, turns: Turns | None) -> None:
    assert read_turns(prompt) == turns


def test_plain_questions_are_told_from_other_prompts() -> None:
    plain, others = split_plain([example("a"), example("b", [SYSTEM, ASKED]), example("c", [])])
    assert [row.completion for row in plain] == ["a"]
    assert [row.completion for row in others] == ["b", "c"]
