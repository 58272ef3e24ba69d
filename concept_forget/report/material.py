"""What a page shows beside the numbers, read from the finished stages: replies, rows, snippets, looks at training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from concept_forget.config import Config
from concept_forget.records import Attempt, Example, Grade, ModelSpec, Snippet, Split, read_grade
from concept_forget.report.redaction import Redactor, no_redaction
from concept_forget.workspace import file_hash, read_json, read_records, read_rows

SPLITS: tuple[Split, ...] = get_args(Split)
_HASHED = (
    *((f"compose/{split}.jsonl") for split in SPLITS),
    "expand/facts.jsonl", "expand/questions.jsonl", "mine/snippets.jsonl",
    "probe/attempts.jsonl", "probe/grades.jsonl", "probe/measurements.json",
)  # fmt: skip
_YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True)
class Material:
    """What the stages left.

    Args:
        attempts: Every question and reply, each with its grade.
        facts: The facts to be forgotten, as the stages wrote them.
        rows: The five sets, one after another.
        snippets: What the corpus says, near misses among it.
        history: The looks at training, as ``history.jsonl`` holds them.
        attacks: Of each attack what it asks and its paper, where the probe says so.
        stages: Each stage's ``stage.json``, by verb.
        hashes: SHA-256 by file.
        models: The models by role.
    """

    attempts: Sequence[tuple[Attempt, Grade]] = ()
    facts: Sequence[Mapping[str, Any]] = ()
    rows: Sequence[Example] = ()
    snippets: Sequence[Snippet] = ()
    history: Sequence[Mapping[str, Any]] = ()
    attacks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, ModelSpec] = field(default_factory=dict)


def read_material(inputs: Mapping[str, Path], models: Mapping[str, ModelSpec]) -> Material:
    """Read what there is of it.

    Args:
        inputs: Finished folders by verb; a stage that did not run is absent.
        models: The models by role.

    Raises:
        DataError: A file was changed.
    """
    compose, probe = inputs.get("compose"), inputs.get("probe")
    stages = {
        verb: read_json(folder / "stage.json") for verb, folder in inputs.items() if (folder / "stage.json").is_file()
    }
    rows = [
        row
        for split in SPLITS
        if compose is not None and (compose / f"{split}.jsonl").is_file()
        for row in read_records(Example, compose / f"{split}.jsonl")
    ]
    snippets = inputs["mine"] / "snippets.jsonl" if "mine" in inputs else None
    told = probe / "attacks.json" if probe is not None else None
    return Material(
        attempts=_graded(probe) if probe is not None else (),
        facts=list(_facts(inputs)),
        rows=rows,
        snippets=read_records(Snippet, snippets) if snippets is not None and snippets.is_file() else (),
        history=_lines(inputs["unlearn"] / "history.jsonl") if "unlearn" in inputs else (),
        attacks=read_json(told) if told is not None and told.is_file() else {},
        stages=stages,
        hashes={
            name: _known_hash(stages, name) or file_hash(path)
            for name in _HASHED
            for verb, file in [name.split("/")]
            if verb in inputs and (path := inputs[verb] / file).is_file()
        },
        models=models,
    )


def find_redactor(config: Config, material: Material) -> Redactor:
    """What a page of this run hides, as ``report.redact`` says."""
    wanted = config.report.redact
    if not wanted:
        return no_redaction()
    asked = {attempt.concept for attempt, _ in material.attempts if attempt.family != "collateral"}
    everything = {concept.name for concept in config.concepts} | asked
    folded = {name.casefold() for name in wanted} if isinstance(wanted, tuple) else None
    concepts = {name for name in everything if folded is None or name.casefold() in folded}
    names = [name for concept in config.concepts if concept.name in concepts for name in concept.names]
    told = [row for row in material.rows if row.concept in concepts and row.split in ("forget", "validation", "probe")]
    answers = [answer for row in told if row.tier != "retain" for answer in (row.answer, *row.aliases)]
    answers += [
        answer
        for attempt, _ in material.attempts
        if attempt.concept in concepts and attempt.family != "collateral"
        for answer in (attempt.expected, *attempt.aliases)
        if answer.casefold() not in _YES_NO
    ]
    facts = [fact for fact in material.facts if fact["concept"] in concepts]
    answers += [answer for fact in facts for answer in (fact["answer"], *fact["aliases"])]
    old = [pair.old for concept in config.concepts if concept.name in concepts for pair in concept.replace]
    by_fact = {fact["id"]: (fact["answer"], *fact["aliases"]) for fact in facts}
    return Redactor(concepts, [*answers, *old], [*names, *concepts], by_fact, everything=wanted is True)


def _known_hash(stages: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    """What a stage said of a file when it was done; earlier versions said nothing."""
    verb, file = name.split("/")
    found: str | None = stages.get(verb, {}).get("files", {}).get(file)
    return found


def _graded(probe: Path) -> list[tuple[Attempt, Grade]]:
    if not (probe / "attempts.jsonl").is_file() or not (probe / "grades.jsonl").is_file():
        return []
    attempts = read_records(Attempt, probe / "attempts.jsonl")
    grades = [read_grade(line) for line in _lines(probe / "grades.jsonl")]
    return list(zip(attempts, grades, strict=True))


def _facts(inputs: Mapping[str, Path]) -> Iterator[Mapping[str, Any]]:
    seen = set()
    for verb in ("compose", "expand"):
        for line in _lines(inputs[verb] / "facts.jsonl") if verb in inputs else ():
            if line.get("distance") is None and line["id"] not in seen:
                seen.add(line["id"])
                yield line


def _lines(path: Path) -> list[dict[str, Any]]:
    return read_rows(path) if path.is_file() else []
