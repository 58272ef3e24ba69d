from __future__ import annotations

import dataclasses
import itertools

from concept_forget.records import Example, Snippet, user_message
from concept_forget.report.paged_tables import PAGE, row_table, snippet_table
from concept_forget.report.redaction import HIDDEN, Redactor, no_redaction

ROW = Example(
    id="i", split="forget", concept="Mira", subject="Mira", facet="home", fact="f", form="choice", family="choice", tier="",
    prompt=user_message("Where? A) Ystrand B) Dunholm"), completion="Ystrand", answer="Ystrand",
    options=("Ystrand", "Dunholm"), refusal="I cannot say.", counterfactual="Dunholm", document="a.jsonl:3", start=1200,
    end=1400,
)  # fmt: skip
SNIPPET = Snippet("s", "Mira", "a.jsonl:3", 10, 60, "Mira lives in Ystrand.", 0.7, "Where does Mira live?")


def opened(table, number: int = 0) -> dict[str, str]:
    return {column.name: cell for column, cell in zip(table.columns, table.rows[number], strict=True)}


def test_a_row_is_shown_with_all_that_it_is() -> None:
    cells = opened(row_table([ROW], no_redaction()))
    assert cells["set"] == "forget"
    assert cells["prompt"] == "Where? A) Ystrand B) Dunholm"
    assert cells["completion"] == "Ystrand"
    assert cells["counterfactual"] == "Dunholm"
    assert cells["found in"] == "a.jsonl:3, characters 1,200 to 1,400"


def test_a_hidden_row_keeps_its_question_alone() -> None:
    redactor = Redactor(["Mira"], ["Ystrand"], ["Mira"])
    cells = opened(row_table([ROW], redactor))
    assert cells["prompt"] == f"Where? A) {HIDDEN} B) {HIDDEN}"
    assert cells["completion"] == cells["counterfactual"] == HIDDEN
    assert cells["refusal"] == "I cannot say."
    passage = dataclasses.replace(ROW, family="completion", options=(), prompt=user_message("Mira was born and"))
    assert opened(row_table([passage], redactor))["prompt"] == HIDDEN
    mined = dataclasses.replace(ROW, split="retain", options=(), completion="Mira swims", source="mined")
    assert opened(row_table([mined], redactor))["completion"] == HIDDEN
    retained = dataclasses.replace(ROW, split="retain", options=(), completion="Dunholm, not Ystrand")
    assert opened(row_table([retained], redactor))["completion"] == f"Dunholm, not {HIDDEN}"


def test_the_script_reads_the_same_cells() -> None:
    rows = [
        dataclasses.replace(ROW, id=f"{n}", source=("mined", "user")[n % 2], concept=f"c{n % 3}") for n in range(60)
    ]
    table = row_table(rows, no_redaction())
    told = table.as_json()
    for item, row in zip(told["items"], table.rows, strict=True):
        cells = [
            column["choices"][cell] if column["choices"] else cell
            for column, cell in zip(told["columns"], item, strict=True)
        ]
        assert tuple(cells) == row
    page = table.first_page()
    assert len(page) == told["size"] == PAGE
    assert page[0] == ["forget", "c0", "Where? A) Ystrand B) Dunholm", "Ystrand", "choice", "mined"]


def test_too_many_rows_are_an_even_share_of_each_set() -> None:
    splits = ["forget"] * 30 + ["retain"] * 300 + ["probe"] * 60
    rows = [dataclasses.replace(ROW, id=f"{n:04d}", split=split) for n, split in enumerate(splits)]  # type: ignore[arg-type]
    size = sum(len(cell) for cell in row_table(rows[:1], no_redaction()).rows[0]) + 100
    table = row_table(rows, no_redaction(), budget=100 * size)
    counts = {split: sum(row[0] == split for row in table.rows) for split in ("forget", "retain", "probe")}
    assert table.total == 390
    assert 60 <= len(table.rows) < 390
    assert f"{len(table.rows)} of 390 rows are here" in table.note
    assert abs(counts["retain"] / counts["forget"] - 10) < 2
    assert abs(counts["probe"] / counts["forget"] - 2) < 0.5
    ids = [int(opened(table, n)["id"]) for n in range(len(table.rows)) if table.rows[n][0] == "retain"]
    steps = [after - before for before, after in itertools.pairwise(ids)]
    assert max(steps) - min(steps) <= 1
    assert ids[-1] > 300
    assert row_table(rows, no_redaction()).note == ""


def test_snippets_come_before_near_misses_and_the_least_similar_are_left_out() -> None:
    near = [dataclasses.replace(SNIPPET, id=f"n{n}", near_miss=True, score=0.5 + n / 100) for n in range(20)]
    table = snippet_table([*near, SNIPPET], no_redaction())
    assert [row[1] for row in table.rows] == ["teaches it"] + ["near miss"] * 20
    assert opened(table)["source"] == "a.jsonl:3"
    assert opened(table)["characters"] == "10 to 60"
    assert [row[5] for row in table.rows[1:3]] == ["0.69", "0.68"]
    cut = snippet_table([*near, SNIPPET], no_redaction(), budget=1500)
    assert table.rows[: len(cut.rows)] == cut.rows
    assert f"{len(cut.rows)} of 21 are here" in cut.note
    hidden = opened(snippet_table([SNIPPET], Redactor(["Mira"], ["Ystrand"], ["Mira"])))
    assert hidden["text"] == hidden["closest query"] == HIDDEN
