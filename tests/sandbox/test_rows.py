from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from concept_forget.sandbox.rows import read_rows


def test_every_wording_of_a_question_is_a_row_with_its_answer(write_rows: Callable[..., str]) -> None:
    row: dict[str, Any] = {"question": "Where was Ada born?", "answer": "Ulm", "subject": "Ada"}
    file = write_rows(
        row | {"paraphrases": ["What is Ada's birthplace?", "In which town was Ada born?"]},
        row | {"question": "And Bo?", "paraphrases": "Where is Bo from?"},
        row | {"question": "And Cy?", "paraphrases": None},
        {"text": "Ada likes rain.", "paraphrases": ["of no use"]},
    )
    assert read_rows(Path(file)) == [
        ("Where was Ada born?", "Ulm"),
        ("What is Ada's birthplace?", "Ulm"),
        ("In which town was Ada born?", "Ulm"),
        ("And Bo?", "Ulm"),
        ("Where is Bo from?", "Ulm"),
        ("And Cy?", "Ulm"),
        ("", "Ada likes rain."),
    ]
