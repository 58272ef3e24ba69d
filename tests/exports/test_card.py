from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from concept_forget.errors import DataError
from concept_forget.exports import TARGETS
from concept_forget.exports.card import read_sections, write_card, write_header
from concept_forget.exports.finished import FinishedSets
from concept_forget.exports.layout import Layout
from concept_forget.records import ModelSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
EXPANSION = {
    "steps": {
        "facets": {"requests": 4, "accepted": 9, "rejected": {}},
        "facts": {"requests": 12, "accepted": 8, "rejected": {"too short": 1, "names | no subject": 3}},
    },
    "diversity": {"all": {"distinct_2": 0.8125, "vendi": 12}, "facets covered": ["birth", "death"]},
}


def card(sets: FinishedSets, name: str = "jsonl", licence: str = "unknown", **changes: object) -> str:
    changed = dataclasses.replace(sets, **changes)  # type: ignore[arg-type]
    layout = Layout()
    TARGETS[name].lay_out(changed, layout)
    return write_card(changed, TARGETS[name], layout, licence)


def with_generator(sets: FinishedSets, engine: str, **settings: object) -> object:
    generator = sets.config.generator.model_copy(update={"engine": engine, **settings})
    return sets.config.model_copy(update={"generator": generator})


def test_the_card_says_what_the_files_are_how_they_came_about_and_what_holds(sets: FinishedSets) -> None:
    told = read_sections(card(sets))
    assert list(told) == [
        "Files", "Left out", "Rows", "Generator", "Prompt files", "Recipe", "Walls", "Columns", "Licence", "Limits",
    ]  # fmt: skip
    assert f"| `forget.jsonl` | {len(sets.rows['forget'])} |" in told["Files"]
    assert told["Left out"].startswith("Nothing: every row")
    passages = sum(row.family == "passage" for row in sets.rows["forget"])
    assert f"| forget | passage | user | {passages} |" in told["Rows"]
    assert "all rows were given or found" in told["Generator"]
    assert "No row comes from a prompt file" in told["Prompt files"]
    for title in ("Recipe", "Walls", "Columns", "Limits"):
        assert told[title] == read_sections(sets.card)[title]


def test_what_a_layout_cannot_hold_is_counted_with_the_reason(sets: FinishedSets) -> None:
    told = read_sections(card(sets, "rwku"))
    assert f"| retain | {len(sets.rows['retain'])} | RWKU gives no retain corpus to train on |" in told["Left out"]
    assert "`--to jsonl`" in told["Left out"]
    assert "so there is no `Target/1_Mira_Kestrel/positive.json`" in told["Files"]
    assert "Columns" not in told


def test_steps_and_diversity_are_shown_where_the_run_has_them(sets: FinishedSets) -> None:
    told = read_sections(card(sets, expansion=EXPANSION))
    assert "| facts | 12 | 8 | 4 | names \\| no subject |" in told["Generator"]
    assert "| facets | 4 | 9 | 0 | – |" in told["Generator"]
    assert "| all / distinct 2 | 0.8125 |" in told["Diversity"]
    assert "| all / vendi | 12 |" in told["Diversity"]
    assert "| facets covered | birth, death |" in told["Diversity"]


def test_the_generators_revision_is_told_as_far_as_it_is_known(sets: FinishedSets) -> None:
    spec = ModelSpec(path=f"cache/snapshots/{COMMIT}", revision="main", fingerprint="abcd")
    local = read_sections(card(sets, config=with_generator(sets, "transformers", model="org/m"), generator=spec))
    assert f"Revision: main, found as commit {COMMIT}" in local["Generator"]
    assert "weights: abcd" in local["Generator"]
    folder = ModelSpec(path="models/mine", fingerprint="abcd")
    given = read_sections(card(sets, config=with_generator(sets, "target"), generator=folder))
    assert "Revision: none was named\n" in given["Generator"]
    assert "mine" not in given["Generator"]
    server = read_sections(card(sets, config=with_generator(sets, "openai", model="m", base_url="http://h/v1")))
    assert "the model is on a server" in server["Generator"]


def test_prompt_files_are_told_by_the_hash_that_rows_carry(sets: FinishedSets) -> None:
    from concept_forget.engines.prompts import load_prompts

    [first, second, *rest] = sets.rows["forget"]
    now = dataclasses.replace(first, prompt_hash=load_prompts("compact").get("questions").hash)
    then = dataclasses.replace(second, prompt_hash="feed")
    told = read_sections(card(sets, "rwku", rows={**sets.rows, "forget": [now, then, *rest]}))
    assert f"| `{now.prompt_hash}` | questions | paraphrase |" in told["Prompt files"]
    assert "| `feed` | changed since, or not here | paraphrase |" in told["Prompt files"]


def test_the_licence_is_unknown_until_somebody_names_one(sets: FinishedSets) -> None:
    assert read_sections(card(sets))["Licence"].startswith("Unknown: nobody has named one.")
    assert read_sections(card(sets, licence="cc0-1.0"))["Licence"].startswith("cc0-1.0, as named by")
    assert "license: cc0-1.0\n" in write_header(Layout(), "cc0-1.0")


def test_a_card_of_another_form_is_refused(sets: FinishedSets) -> None:
    with pytest.raises(DataError, match="no section Limits") as caught:
        card(sets, card=sets.card.replace("## Limits", "## Else"))
    assert caught.value.file == str(Path(sets.dataset) / "README.md")
