"""The concept, and what a config may say of stale knowledge."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from concept_forget.concept import Concept, Replacement, replace_each, replace_words
from concept_forget.config_file import load_config
from concept_forget.errors import ConfigError


def test_a_phrase_is_replaced_as_whole_words_whatever_its_case() -> None:
    assert replace_words("Is ANN anna's, or Ann's?", "Ann", r"B\1") == (r"Is B\1 anna's, or B\1's?", 2)


def test_several_phrases_are_replaced_in_one_pass_the_longest_first() -> None:
    others = {"Ann": "Bea", "Bea": "Cleo", "Ann Lee": r"D\1", "": "nobody"}
    assert replace_each("ann lee, Ann, BEA and Annabel", others) == r"D\1, Bea, Cleo and Annabel"
    assert replace_each("İnci", {"inci": "Ann"}) == "Ann"  # alike when case is ignored, and not when it is folded
    assert replace_each("Ann", {}) == "Ann"


def test_answers_are_read_in_their_plain_form() -> None:
    (entry,) = Concept.model_validate(
        {"name": "Acme", "replace": [{"old": " Ada  Finch ", "new": "Oren\tVale", "facet": "chief  executive"}]}
    ).replace
    assert entry == Replacement(old="Ada Finch", new="Oren Vale", facet="chief executive")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"old": "Ada Finch", "new": "ADA  finch"}, "the same answer"),
        ({"old": "", "new": "Oren Vale"}, "at least 1 character"),
        ({"old": "Ada Finch", "new": "  "}, "at least 1 character"),
        ({"old": "Ada Finch"}, "Field required"),
        ({"old": "Ada Finch", "new": "Oren Vale", "fact": "chief"}, "Extra inputs"),
        ({"old": 7, "new": "Oren Vale"}, "valid string"),
    ],
)
def test_an_entry_that_says_nothing_is_refused(entry: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Concept.model_validate({"name": "Acme", "replace": [entry]})


def test_an_answer_gives_way_to_one_other_in_each_facet() -> None:
    old = {"old": "Ada Finch", "new": "Oren Vale"}
    with pytest.raises(ValidationError, match=r"two entries replace the answer 'Ada Finch'"):
        Concept.model_validate({"name": "Acme", "replace": [old, {"old": "ada finch", "new": "Bram Sorrel"}]})
    both = Concept.model_validate({"name": "Acme", "replace": [old | {"facet": "chief"}, old | {"facet": "owner"}]})
    assert len(both.replace) == 2


@pytest.mark.parametrize("key", ["concept", "concepts"])
def test_a_mistake_in_an_entry_names_its_line_and_key(tmp_path: Path, key: str) -> None:
    concept = ["name: Acme", "replace:", "  - old: Ada Finch", "    knew: Oren Vale"]
    lines = [f"{key}:", *(f"  {line}" for line in concept), "target: some/model"]
    if key == "concepts":
        lines[1] = "  - name: Acme"
        lines[2:5] = [f"  {line}" for line in lines[2:5]]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "config.yaml" in message
    assert "replace.0" in message
    assert "knew" in message or "new" in message
