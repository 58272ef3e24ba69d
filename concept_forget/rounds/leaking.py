"""What a finished round's model still gave away, as rows to forget."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from concept_forget.probe.asking import COLLATERAL, STRANGERS
from concept_forget.probe.attacks import ATTACKS
from concept_forget.records import Attempt, Example
from concept_forget.workspace import read_records, read_rows


def read_leaks(composed: Path, probed: Path) -> list[Example]:
    """The rows of a run's probe that leaked in its unlearned model.

    A row leaked where by some attack a larger share of the model's replies gave it away than of the floor's replies to
    the same question: those of the reference, else those of base about strangers.

    Args:
        composed: The folder of the run's sets.
        probed: The folder of its probe.

    Returns:
        The rows, and where an attack had put one in other words, the row in these words as well.
    """
    rows = {row.id: row for row in read_records(Example, composed / "probe.jsonl")}
    attempts = read_records(Attempt, probed / "attempts.jsonl")
    return find_leaks(rows, attempts, [bool(row["leaked"]) for row in read_rows(probed / "grades.jsonl")])


def find_leaks(rows: Mapping[str, Example], attempts: Sequence[Attempt], leaked: Sequence[bool]) -> list[Example]:
    """The rows that leaked.

    Args:
        rows: The rows of the probe, by id.
        attempts: What was asked and replied.
        leaked: Whether each reply gave the answer away.
    """
    shares: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    put: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt, gave in zip(attempts, leaked, strict=True):
        if attempt.attack == COLLATERAL:
            continue
        key = (attempt.example, attempt.attack)
        shares[key][attempt.model].append(float(gave))
        if attempt.model == "unlearned" and gave:
            put[key].append(attempt)
    found: dict[str, Example] = {}
    for (example, attack), by_model in shares.items():
        floor = by_model.get("reference") or by_model.get(STRANGERS) or [0.0]
        if statistics.fmean(by_model.get("unlearned") or [0.0]) > statistics.fmean(floor):
            for row in (rows[example], *_as_put(rows[example], attack, put[example, attack])):
                found.setdefault(row.id, row)
    return list(found.values())


def _as_put(row: Example, attack: str, attempts: Iterable[Attempt]) -> list[Example]:
    """The row in an attack's own words, where a reply to them says what a reply to the row's own says."""
    # What is tried on the way of an attack on weights has a label, and no words, of its own.
    known = ATTACKS.get(attack)
    if known is None or known.expects or known.grader or known.room > 1:
        return []
    return [
        replace(
            row,
            id=Example.make_id(attempt.prompt, row.completion),
            form=f"{row.form}, {attack}",
            prompt=attempt.prompt,
            parents=(row.id, *row.parents),
        )
        for attempt in attempts
        if attempt.prompt and not attempt.prefill and attempt.prompt != row.prompt
    ]
