"""The numbers of a bundle, counted again from its attempts as the probe and the report counted them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from concept_forget.config import Config
from concept_forget.errors import ConfigError
from concept_forget.evidence.asking import ATTEMPTS, Asked, Wrong, check_asked
from concept_forget.evidence.bundling import REPLACEMENTS, VERBS
from concept_forget.evidence.contents import Contents
from concept_forget.evidence.telling import check_report, check_searched, count_summary, untold
from concept_forget.measures.metrics import ByModel
from concept_forget.probe.attacks import ATTACKS
from concept_forget.probe.grading import grade_attempts, grade_by, grade_replacements, graders_of
from concept_forget.probe.model_grading import MODEL_GRADERS
from concept_forget.probe.recount import count_attempts, told_by_graders
from concept_forget.probe.searching import Try
from concept_forget.probe.white_box import View, count_readings, white_box_named
from concept_forget.records import Attempt, Grade, to_json

GRADES, TRIES = "probe/grades.jsonl", "probe/tries.jsonl"
MEASUREMENTS = "probe/measurements.json"


@dataclass(frozen=True, slots=True)
class Recounted:
    """What counting again came to.

    Attributes:
        wrong: Places of attempts, grades and texts that do not go with the rest, each with what is wrong.
        numbers: What ``measurements.json`` ought to hold; None where the grades are not those of the attempts.
        cost: What ``metrics.json`` ought to say of the cost.
        summary: What the probe's ``summary.json`` ought to say.
        counts: How much was counted again, in words.
        unchecked: What could not be, with the reason.
    """

    wrong: tuple[Wrong, ...]
    numbers: dict[str, Any] | None
    cost: dict[str, Any]
    summary: dict[str, Any]
    counts: dict[str, int]
    unchecked: tuple[str, ...]


def recount(contents: Contents) -> Recounted:
    """Hold the attempts against their rows, and grade and count again.

    Raises:
        DataError: A file is missing or broken, or the attempts are such that nothing can be counted from them.
    """
    config = _config(contents)
    attempts, rows = contents.attempts(ATTEMPTS), contents.rows(GRADES)
    told = [contents.grade(_grade_of(row), GRADES, number) for number, row in enumerate(rows, start=1)]
    if [row.get("attempt") for row in rows] != [attempt.id for attempt in attempts]:
        return _uncounted([(GRADES, "is not of these attempts")], attempts)
    wrong: list[Wrong] = []
    try:
        asked = check_asked(contents, config, attempts)
        wrong += asked.wrong
        return _count(contents, config, attempts, list(zip(rows, told, strict=True)), asked)
    except ConfigError as error:
        contents.refuse(f"its config cannot be used: {error.problem}", error)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # A bundle may hold anything that has the form of attempts.
        problem = f"nothing can be counted from these attempts: {type(error).__name__}: {error}"
        if not wrong:
            contents.refuse(problem, error)
        return _uncounted([*wrong, (ATTEMPTS, problem)], attempts)


def _uncounted(wrong: Sequence[Wrong], attempts: Sequence[Attempt]) -> Recounted:
    return Recounted(tuple(wrong), None, {}, {}, {"attempts": len(attempts)}, ())


def _count(
    contents: Contents,
    config: Config,
    attempts: Sequence[Attempt],
    graded: Sequence[tuple[Mapping[str, Any], Grade]],
    asked: Asked,
) -> Recounted:
    rows = [row for row, _ in graded]
    again = grade_attempts(attempts, config.probe.plain_grader)
    new = grade_replacements(attempts, contents.json(REPLACEMENTS))
    names = graders_of(attempts, config.probe.grader)
    known = [
        _is_known(attempt, config) and name not in MODEL_GRADERS for attempt, name in zip(attempts, names, strict=True)
    ]
    grades = [fresh if sure else old for fresh, (_, old), sure in zip(again, graded, known, strict=True)]
    wrong = [*asked.wrong]
    wrong += [
        (f"{GRADES}, line {number} (attempt {row['attempt']})", problem)
        for number, (row, grade, replaced) in enumerate(zip(rows, grades, new, strict=True), start=1)
        for problem in _wrong(row, grade, replaced)
    ]
    beside = _beside(contents, config, attempts, rows)
    wrong += beside.wrong
    tries = _tries(contents)
    numbers = _numbers(contents, config, attempts, grades, new, tries, beside.said)
    wrong += check_searched(attempts, tries, [name for name, attack in ATTACKS.items() if attack.searched])
    wrong += check_report(contents, config, numbers["verdict"]["outcome"])
    return Recounted(
        wrong=tuple(wrong),
        numbers=numbers,
        cost=_cost(contents),
        summary=count_summary(attempts, tries, asked, numbers, config),
        counts={"attempts": len(attempts), "grades": sum(known), "numbers": _leaves(numbers)},
        unchecked=(*_unchecked(attempts, known, config), *asked.unchecked, *untold(config)),
    )


def _config(contents: Contents) -> Config:
    try:
        return Config.model_validate(contents.json("run.json").get("config"))
    except ConfigError as error:
        contents.refuse(f"the config in run.json is not one of this version: {error.problem}", error)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        contents.refuse(f"the config in run.json is not one of this version: {place}: {first['msg']}", error)


def _is_known(attempt: Attempt, config: Config) -> bool:
    """Whether the attempt is graded here as it was: what a file of the user's registered is not known."""
    return attempt.attack in ATTACKS or not config.probe.attack_files


@dataclass(frozen=True, slots=True)
class _Beside:
    """What graders said that decide nothing, attempt by attempt, and what of it is wrong."""

    said: list[dict[str, Grade]]
    wrong: list[tuple[str, str]]


def _beside(
    contents: Contents,
    config: Config,
    attempts: Sequence[Attempt],
    rows: Sequence[Mapping[str, Any]],
) -> _Beside:
    found = _Beside([], [])
    names = config.probe.graders[1:]
    again = {name: grade_by(attempts, name) for name in names if name not in MODEL_GRADERS}
    for place, row in enumerate(rows):
        told = row.get("beside", {})
        said = {name: contents.grade(told[name], GRADES, place + 1) for name in names if name in told}
        for name, grades in again.items():
            grade = grades[place]
            if _is_known(attempts[place], config) and said.get(name) != grade:
                where = f"{GRADES}, line {place + 1} (attempt {row['attempt']})"
                found.wrong.append((where, f"says something else by {name} than grading again does"))
        found.said.append(said)
    return found


def _unchecked(attempts: Sequence[Attempt], known: Sequence[bool], config: Config) -> Iterator[str]:
    asking = [name for name in config.probe.graders if name in MODEL_GRADERS]
    if asking:
        yield f"grades by {', '.join(asking)}: they come from models, which are not in the bundle"
    strange = sorted({attempt.attack for attempt in attempts if not _is_known(attempt, config)})
    if strange:
        yield f"grades of {', '.join(strange)}: these attacks are from a file, and how it grades is not known here"
    yield "perplexities: they come from the base model, which is not in the bundle"


def _grade_of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in Grade.__slots__}


def _wrong(row: Mapping[str, Any], grade: Grade, replaced: Grade | None) -> Iterator[str]:
    if _grade_of(row) != to_json(grade):
        yield f"says {_told(row)}, and graded again the reply is {_told(to_json(grade))}"
    if row.get("replacement") != (to_json(replaced) if replaced else None):
        yield "says something else of the answer that was to take the old one's place than grading again does"


def _told(grade: Mapping[str, Any]) -> str:
    return f"{grade.get('score')} ({'leaked' if grade.get('leaked') else 'not leaked'}: {grade.get('reason')})"


def _numbers(
    contents: Contents,
    config: Config,
    attempts: Sequence[Attempt],
    grades: Sequence[Grade],
    replaced: Sequence[Grade | None],
    tries: Sequence[Try],
    beside: Sequence[Mapping[str, Grade]],
) -> dict[str, Any]:
    told = contents.json(MEASUREMENTS)
    counted = count_attempts(
        attempts,
        grades,
        replaced,
        tries,
        told_by_graders(attempts, grades, beside, config),
        families={
            attack: result["family"]
            for found in told["concepts"].values()
            for attack, result in found["attacks"].items()
        },
        fluency=ByModel.model_validate(told["fluency"]),
        config=config,
    )
    numbers = counted.model_dump(mode="json")
    numbers["not_made"] = told.get("not_made", {})  # reasons, not numbers
    numbers["white_box"] = _white_box(contents, config, told.get("white_box"))
    return numbers


def _tries(contents: Contents) -> list[Try]:
    rows = contents.rows(TRIES)
    attempts = contents.attempts_in([row["attempt"] for row in rows], TRIES)
    return [
        Try(attempt, row["score"], row["chosen"], row["discarded"]) for attempt, row in zip(attempts, rows, strict=True)
    ]


def _white_box(contents: Contents, config: Config, told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the readings say; how many rows had no counterpart is the probe's own count, and taken as it is."""
    if told is None:
        return None
    attacks = [attack for attack in white_box_named(config.probe.attacks) if f"probe/{attack.name}.jsonl" in contents]
    models = [model for model in ("base", "unlearned", "reference") if config.reference or model != "reference"]
    readings = {
        attack.name: {
            model: [row for row in contents.rows(f"probe/{attack.name}.jsonl") if row["model"] == model]
            for model in models
        }
        for attack in attacks
    }
    view = View(
        concepts=config.concepts, forget=(), retain=(), probe=(), collateral=(), seed=config.seed,
        max_new_tokens=config.probe.max_new_tokens,
    )  # fmt: skip
    counted = count_readings(attacks, view, readings).model_dump(mode="json")
    for concept, found in counted["concepts"].items():
        if (membership := found.get("membership")) is not None:
            membership["rows_left_out"] = told["concepts"][concept]["membership"]["rows_left_out"]
    return counted


def _cost(contents: Contents) -> dict[str, Any]:
    stages = {verb: contents.json(f"{verb}/stage.json") for verb in VERBS[:-1] if f"{verb}/stage.json" in contents}
    spent = contents.json("report/summary.json").get("retrain_flops")
    flops = {verb: stage.get("flops") for verb, stage in stages.items()}
    own = flops.get("unlearn")
    ratio = own / spent if isinstance(own, (int, float)) and isinstance(spent, (int, float)) and spent > 0 else None
    return {
        "seconds": {verb: stage.get("seconds") for verb, stage in stages.items()},
        "flops": flops,
        "peak_memory_bytes": {verb: stage.get("peak_memory_bytes") for verb, stage in stages.items()},
        "ratio_to_retrain": ratio,
    }


def _leaves(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_leaves, value.values()))
    if isinstance(value, list):
        return sum(map(_leaves, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)
