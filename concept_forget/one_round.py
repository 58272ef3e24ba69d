"""One round of several: what the rounds before it found, as its stages are handed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concept_forget.config import ModelChoice
from concept_forget.records import Example, content_hash, to_json
from concept_forget.workspace import read_json, read_records, write_json, write_records

INPUT = "round"
"""The name under which a stage is handed the folder of what ``write_round`` wrote."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round begins from.

    Args:
        number: The round, from 1.
        count: Rounds at most.
        leaked: The rows that leaked in the rounds before it, as they were put to the model.
        history: What each round before it came to, as ``metrics.json`` tells it.
        previous: The model that the round before left; None: there was none.
    """

    number: int
    count: int
    leaked: Sequence[Example] = ()
    history: Sequence[Mapping[str, Any]] = ()
    previous: ModelChoice | None = None

    @property
    def mark(self) -> str:
        """A hash of all this but the model, which is told by its own."""
        return content_hash(self.number, self.count, [to_json(row) for row in self.leaked], list(self.history))


def write_round(own: Round, folder: Path) -> Path:
    """Write what a round begins from for the stages that need it; gives the folder."""
    write_records(folder / "leaked.jsonl", list(own.leaked))
    told = {"number": own.number, "count": own.count, "history": list(own.history)}
    write_json(folder / "round.json", told)
    return folder


def read_round(inputs: Mapping[str, Path]) -> Round | None:
    """What a stage is handed of its round; None where the run is no round of several."""
    if INPUT not in inputs:
        return None
    told = read_json(inputs[INPUT] / "round.json")
    leaked = read_records(Example, inputs[INPUT] / "leaked.jsonl")
    return Round(told["number"], told["count"], leaked, told["history"])
