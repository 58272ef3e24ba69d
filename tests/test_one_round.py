from __future__ import annotations

import dataclasses
from pathlib import Path

from concept_forget.config import ModelChoice
from concept_forget.one_round import INPUT, Round, read_round, write_round
from concept_forget.records import Example, user_message

ROW = Example(
    id="x", split="probe", concept="Ada", subject="Ada", facet="birthplace", fact="f", form="choice", family="choice",
    tier="new_form", prompt=user_message("Where?"), completion="Rome", answer="Rome", options=("Rome", "Oslo"),
)  # fmt: skip


def test_a_stage_reads_what_its_round_begins_from(tmp_path: Path) -> None:
    own = Round(2, 3, [ROW], [{"number": 1, "outcome": "failed"}])
    assert read_round({INPUT: write_round(own, tmp_path)}) == own
    assert read_round({}) is None


def test_a_round_is_told_by_all_that_it_begins_from_but_its_model() -> None:
    own = Round(2, 3, [ROW], [{"number": 1}])
    others = [
        dataclasses.replace(own, number=3),
        dataclasses.replace(own, count=4),
        dataclasses.replace(own, leaked=[dataclasses.replace(ROW, completion="Oslo")]),
        dataclasses.replace(own, history=[{"number": 2}]),
    ]
    assert len({other.mark for other in (own, *others)}) == 5
    assert dataclasses.replace(own, previous=ModelChoice(model="a-model")).mark == own.mark
