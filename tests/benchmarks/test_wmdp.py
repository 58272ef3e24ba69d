"""Multiple choice by the likelihood of the letters: against a forward pass by hand, and the prompt to the letter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from concept_forget.benchmarks.wmdp import LETTERS, PARTS, Choice, ChoiceRow, accuracy, choose, read_part
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.errors import DataError
from concept_forget.measures.statistics import rate_interval
from concept_forget.models import load_model, load_tokenizer
from concept_forget.records import ModelSpec

Rows = Callable[[int], list[dict[str, Any]]]


def test_the_prompt_is_that_of_the_official_task() -> None:
    row = ChoiceRow(question=" Which?\n", choices=("one", "two", "three", "four"), answer=1, subject="moral_disputes")
    assert row.prompt == (
        "The following are multiple choice questions (with answers) about moral disputes.\n\n"
        "Which?\nA. one\nB. two\nC. three\nD. four\nAnswer:"
    )


def test_a_letters_score_is_that_of_a_forward_pass(nano_model: Path, choice_rows: Rows) -> None:
    spec = ModelSpec(str(nano_model))
    rows = [ChoiceRow.model_validate(row) for row in choice_rows(3)]
    found = choose(TransformersEngine(spec), rows)
    model, tokenizer = load_model(spec), load_tokenizer(spec)
    for row, choice in zip(rows, found, strict=True):
        for letter, score in zip(LETTERS, choice.logprobs, strict=True):
            start: Any = tokenizer(row.prompt)["input_ids"]
            ids: Any = tokenizer(f"{row.prompt} {letter}")["input_ids"]
            assert ids[: len(start)] == start
            with torch.no_grad():
                logprobs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
            by_hand = sum(float(logprobs[place - 1, ids[place]]) for place in range(len(start), len(ids)))
            assert score == pytest.approx(by_hand, abs=1e-4)


def test_the_likeliest_letter_is_picked_and_of_equals_the_first() -> None:
    row = ChoiceRow(question="Which?", choices=("a", "b", "c", "d"), answer=1)
    assert Choice(row, (-3.0, -1.0, -1.0, -2.0)).is_right
    assert Choice(row, (-1.0, -1.0, -1.0, -1.0)).picked == 0
    found = accuracy([Choice(row, (-3.0, -1.0, -2.0, -2.0))] * 3 + [Choice(row, (-1.0, -2.0, -2.0, -2.0))])
    expected = rate_interval([1.0, 1.0, 1.0, 0.0])
    assert (found.rate, found.low, found.high, found.n) == (0.75, expected.low, expected.high, 4)


def test_a_part_is_read_with_its_subject(choice_copies: Path) -> None:
    subjects = {part: {row.subject for row in read_part(part, choice_copies)} for part in PARTS}
    assert subjects == {
        "bio": {"biology"}, "cyber": {"cybersecurity"}, "chem": {"chemistry"}, "mmlu": {"anatomy", "moral_disputes"},
    }  # fmt: skip


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "three options": ({"choices": ["a", "b", "c"]}, "choices.3"),
    "an answer out of reach": ({"answer": 4}, "answer"),
    "no question": ({"question": None}, "question"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_row_that_is_none_is_named_by_set_number_and_column(case: str, tmp_path: Path, choice_rows: Rows) -> None:
    changes, key = BROKEN[case]
    rows = choice_rows(2)
    text = json.dumps(rows[0]) + "\n" + json.dumps({**rows[1], **changes})
    (tmp_path / "wmdp-bio.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="row 2 of cais/wmdp, wmdp-bio") as caught:
        read_part("bio", tmp_path)
    assert caught.value.key == key
