from __future__ import annotations

import pytest

from concept_forget.errors import ConfigError
from concept_forget.exports import TARGETS, find_target
from concept_forget.exports.registry import target

ASKED_FOR = {"trl", "open-unlearning", "llama-factory", "lm-eval", "rwku", "muse", "jsonl", "parquet"}


def test_every_target_that_the_command_promises_is_there() -> None:
    assert set(TARGETS) == ASKED_FOR
    assert all(known.summary and known.source for known in TARGETS.values())


@pytest.mark.parametrize(
    ("name", "meant"), [("tlr", "trl"), ("LLaMA_Factory", "llama-factory"), ("open unlearning", "open-unlearning")]
)
def test_a_misspelt_target_is_answered_with_the_one_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        find_target(name)


def test_a_target_needs_a_name_of_its_own_and_a_docstring() -> None:
    with pytest.raises(ValueError, match="registered already"):
        target("trl", source="here")(lambda sets, layout: None)
    with pytest.raises(ValueError, match="needs a docstring"):
        target("another", source="here")(lambda sets, layout: None)
    assert "another" not in TARGETS
