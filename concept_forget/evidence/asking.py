"""Whether a bundle's attempts are those that its rows and its config ask for: no other, no fewer, in their order."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concept_forget.config import Config
from concept_forget.evidence.contents import Contents
from concept_forget.probe.asking import COLLATERAL, STRANGERS, Planned, plan_questions, plan_strangers
from concept_forget.probe.attacks import ATTACKS, Attack, attacks_named, set_scene
from concept_forget.probe.doses import ATTACK as DOSED
from concept_forget.probe.doses import BETWEEN, model_name
from concept_forget.probe.rounds import PREVIOUS
from concept_forget.records import Attempt, Example, content_hash

ATTEMPTS = "probe/attempts.jsonl"
ROWS = ("compose/probe.jsonl", "compose/collateral.jsonl")
SUMMARY = "probe/summary.json"
_FROM_RETAIN = frozenset({"yes_no", "in_context", "long_context"})
"""Attacks that say what rows of the retain set say, which is not in the bundle."""
_SAME = ("base", "unlearned", "reference", PREVIOUS)
_MODELS = ("base", "unlearned", "reference", STRANGERS, PREVIOUS, *map(model_name, BETWEEN))
_STEPS = re.compile(r"(?P<attack>.+) \((?P<steps>\d{1,9}) steps\)")

Wrong = tuple[str, str]
"""A place in the bundle, and what is wrong with it."""
Key = tuple[str, str, str, int]
"""Model, attack, row and number of a request."""


@dataclass(frozen=True, slots=True)
class _Case:
    """An attempt in its line, the attack that it belongs to, which of that attack's requests it is, and its row."""

    line: int
    attempt: Attempt
    attack: Attack | None
    number: int
    row: Example | None

    @property
    def place(self) -> str:
        return f"{ATTEMPTS}, line {self.line} (attempt {self.attempt.id})"

    @property
    def key(self) -> Key:
        return (self.attempt.model, self.attempt.attack, self.attempt.example, self.number)


@dataclass(frozen=True, slots=True)
class Asked:
    """What holding the attempts against the rows came to.

    Attributes:
        wrong: What does not go together.
        questions: Requests that base got, those to changed models aside; None where rows are not told apart.
        unchecked: What could not be checked, with the reason.
    """

    wrong: tuple[Wrong, ...]
    questions: int | None
    unchecked: tuple[str, ...]


def check_asked(contents: Contents, config: Config, attempts: Sequence[Attempt]) -> Asked:
    """Hold each attempt against its row, and all of them against what is planned from the rows again.

    What an attack draws from the retain set, and what a search came upon, is known by its row and its id alone.

    Raises:
        DataError: The bundle has no rows, or broken ones.
    """
    probe, collateral = (contents.examples(name) for name in ROWS)
    rows = {row.id: row for row in (*probe, *collateral)}
    known = len(rows) == len(probe) + len(collateral)
    continues = config.unlearn.continued is not None
    cases = list(_cases(attempts, rows))
    made = _asked_for(config)
    wrong = [problem for case in cases for problem in _beside_its_row(case, repeated=not known, continues=continues)]
    wrong += _out_of_order(cases, [row.id for row in (*probe, *collateral)]) if known else ()
    planned: dict[str, list[Planned]] = {}
    if known and not continues:
        planned = _plan(config, made, probe, collateral, {attempt.model for attempt in attempts})
        wrong += _other_than_planned(cases, planned, config)
    wrong += _unlike_between_models(cases, {row.attack for row in planned.get("base", ())}, config)
    without = [attack.name for attack in made if attack.name not in {attempt.attack for attempt in attempts}]
    wrong += _left_out(without, contents, made)
    asked = {case.key[1:] for case in cases if case.attempt.model == "base" and not _changes(case.attack)}
    return Asked(
        wrong=tuple(wrong),
        questions=len(asked) if known else None,
        unchecked=tuple(_unchecked(made, without, known and not continues)),
    )


def _asked_for(config: Config) -> list[Attack]:
    """The built-in attacks that the config asks for: a file that a bundle names is never run."""
    families = {attack.family for attack in ATTACKS.values()}
    names = [name for name in config.probe.attack_names if name in ("quick", "all", *families) or name in ATTACKS]
    found = attacks_named(names) if names else []
    return [one for one in found if not one.file and (not one.searched or config.attacker is not None)]


def _cases(attempts: Sequence[Attempt], rows: Mapping[str, Example]) -> Iterator[_Case]:
    """The attempts with their numbers: the requests of a row stand in their order, and so do the samples of each."""
    seen: Counter[tuple[str, str, str, int]] = Counter()
    for line, attempt in enumerate(attempts, start=1):
        attack = _attack_of(attempt)
        sample = (
            -1 if attack is not None and attack.searched else attempt.sample
        )  # the best of its samples alone counts
        key = (attempt.model, attempt.attack, attempt.example, sample)
        yield _Case(line, attempt, attack, seen[key], rows.get(attempt.example))
        seen[key] += 1


def _attack_of(attempt: Attempt) -> Attack | None:
    """The attack, also where the attempt is named by the steps that it came after; None of collateral, or of a file."""
    if (steps := _STEPS.fullmatch(attempt.attack)) is not None and _changes(ATTACKS.get(steps["attack"])):
        return ATTACKS[steps["attack"]]
    found = ATTACKS.get(attempt.attack)
    return found if found is not None and not found.file else None


def _changes(attack: Attack | None) -> bool:
    return attack is not None and attack.change is not None


def _beside_its_row(case: _Case, *, repeated: bool, continues: bool) -> Iterator[Wrong]:
    attempt, attack, row = case.attempt, case.attack, case.row
    if attempt.model not in _MODELS:
        yield case.place, f"is of {attempt.model!r}, which is none of the models that are asked"
    told = (attempt.model, attempt.attack, attempt.example)
    numbers = range(min(case.number + 1, 64)) if repeated else (case.number,)
    if all(content_hash("attempt", *told, number, attempt.sample) != attempt.id for number in numbers):
        yield case.place, "has another id than what it says was asked has"
    if row is None:
        if not continues:
            yield case.place, f"asks a row that is in neither set: {attempt.example!r:.80}"
        return
    for name in ("concept", "subject", "fact", "tier", "options"):
        if getattr(attempt, name) != getattr(row, name):
            yield case.place, f"has another {name} than its row"
    if attack is None and attempt.attack != COLLATERAL:
        return  # of a file: what it expects is not known here
    if attempt.family != (attack.family if attack else COLLATERAL):
        yield case.place, "has another family than its attack"
    if (row.split == "collateral") != (attack is None) or (attack and attack.takes != row.family):
        yield case.place, f"puts to the model a row that {attempt.attack} does not take"
    if attack is not None and attack.expects:
        right = (*attack.expects[case.number % len(attack.expects) :][:1], ())
    else:
        right = (row.answer, row.aliases)
    if (attempt.expected, attempt.aliases) != right:
        yield case.place, "has another expected answer than its row"


def _out_of_order(cases: Sequence[_Case], ids: Sequence[str]) -> Iterator[Wrong]:
    """The first attempt that stands where it was not asked."""
    order = {example: place for place, example in enumerate(ids)}
    attacks = {name: place for place, name in enumerate(ATTACKS)}
    models = {name: place for place, name in enumerate(_MODELS)}

    def place_of(case: _Case) -> tuple[float, ...]:
        attempt = case.attempt
        model = models.get(attempt.model, len(models))
        row = order.get(attempt.example, len(order))
        of_row = (row, case.number, attempt.sample) if case.row is not None else (row, 0, 0)
        attack = attacks[case.attack.name] if case.attack is not None else len(attacks)
        attack += attempt.attack == COLLATERAL
        if attempt.model.startswith("dose "):
            return (3, model, *of_row)
        if _changes(case.attack):
            steps = _STEPS.fullmatch(attempt.attack)
            return (2, attack, model, int(steps["steps"]) if steps else math.inf, *of_row)
        return (int(case.attack is not None and case.attack.searched), model, attack, *of_row)

    before: tuple[float, ...] = ()
    for case in cases:
        if (own := place_of(case)) < before and not (case.attack is None and case.attempt.attack != COLLATERAL):
            yield case.place, "stands in another place than it was asked in"
            return
        before = own


def _plan(
    config: Config,
    made: Sequence[Attack],
    probe: Sequence[Example],
    collateral: Sequence[Example],
    models: set[str],
) -> dict[str, list[Planned]]:
    """What each model is asked, as far as that can be planned without the retain set."""
    own = [attack for attack in made if attack.change is None and attack.name not in _FROM_RETAIN]
    words = config.probe.distraction_words
    scene = set_scene(config.concepts, probe, collateral, seed=config.seed, distraction_words=words)
    questions = plan_questions(own, probe, collateral, config.seed, scene)
    roles = ["base", "unlearned", *(["reference"] if config.reference is not None else [])]
    planned = dict.fromkeys(roles, questions)
    if PREVIOUS in models:
        planned[PREVIOUS] = [row for row in questions if row.attack != COLLATERAL]
    # Which rows stand beside one another decides what strangers are asked.
    if config.reference is None and not config.probe.attack_files and not _FROM_RETAIN & {one.name for one in made}:
        names = sorted({row.subject for row in (*probe, *collateral)})
        planned[STRANGERS] = plan_strangers(questions, names, config.seed, scene)
    return planned


def _other_than_planned(
    cases: Sequence[_Case], planned: Mapping[str, Sequence[Planned]], config: Config
) -> Iterator[Wrong]:
    plan = {(model, row.attack, row.example.id, row.number): row for model, rows in planned.items() for row in rows}
    known = {row.attack for row in plan.values()}
    replies: Counter[Key] = Counter()
    for case in cases:
        if case.attempt.model not in planned or case.attempt.attack not in known:
            continue
        row = plan.get(case.key)
        if row is None:
            yield case.place, "was not to be asked"
            continue
        replies[case.key] += 1
        if not _is_as_planned(case, row):
            yield case.place, "asks something else than its attack makes of its row"
    missing: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, row in plan.items():
        if replies[key] < _samples(row.attack, config):
            missing[key[0], key[1]].append(row.example.id)
    for (model, attack), examples in missing.items():
        yield (
            ATTEMPTS,
            f"of {len(examples)} questions of {attack} {model} has too few replies, first of row {examples[0]}",
        )


def _samples(attack: str, config: Config) -> int:
    known = ATTACKS.get(attack)
    if known is None:
        return config.probe.samples
    return 1 if known.searched else (config.probe.sampling if known.sampled else config.probe).samples


def _is_as_planned(case: _Case, row: Planned) -> bool:
    request, prompt, prefill = row.request, case.attempt.prompt, case.attempt.prefill
    if case.attack is not None and case.attack.searched:
        return True
    if isinstance(request.prompt, str):
        return (prompt, prefill) == ([], request.prompt + request.prefill)
    if case.attack is not None and case.attack.follow is not None:
        return prompt[: len(request.prompt)] == request.prompt and len(prompt) > len(request.prompt)
    return (prompt, prefill) == (request.prompt, request.prefill)


def _unlike_between_models(cases: Sequence[_Case], planned: set[str], config: Config) -> Iterator[Wrong]:
    """Attacks of which one model was asked less than another; ``planned`` are known already."""
    asked: dict[str, dict[str, set[tuple[str, int, int]]]] = defaultdict(lambda: defaultdict(set))
    for case in cases:
        attempt = case.attempt
        sample = 0 if case.attack is not None and case.attack.searched else attempt.sample
        asked[attempt.attack][attempt.model].add((attempt.example, case.number, sample))
    present = {case.attempt.model for case in cases}
    roles = [role for role in _SAME if role in present or role == "unlearned"]
    pairs = [(attack, role) for attack in asked if attack not in {*planned, COLLATERAL} for role in roles]
    if config.probe.dose_response:
        pairs += [(DOSED, model_name(alpha)) for alpha in BETWEEN]
    for attack, role in pairs:
        every = set().union(*(asked[attack][model] for model in (role, *roles)))
        if less := len(every - asked[attack][role]):
            yield ATTEMPTS, f"{role} has {less} replies to {attack} fewer than the other models"


def _left_out(without: Sequence[str], contents: Contents, made: Sequence[Attack]) -> Iterator[Wrong]:
    """Attacks of which there is no attempt and of which nobody says that there was nothing to ask."""
    told: dict[str, Any] = contents.json(SUMMARY)
    said = told.get("attacks_not_made", ())
    for attack in made:
        if attack.name in without and attack.name not in said:
            yield ATTEMPTS, f"holds no attempt of {attack.name}, which the config asks for"


def _unchecked(made: Sequence[Attack], without: Sequence[str], planned: bool) -> Iterator[str]:
    if not planned:
        yield "whether every row was asked: rows of another run, or alike ones, are among them"
    retain = [one.name for one in made if one.name in _FROM_RETAIN]
    if retain:
        yield f"prompts of {', '.join(retain)}: they draw on the retain set, which is not in the bundle"
    searched = [one.name for one in made if one.searched]
    if searched:
        yield f"prompts of {', '.join(searched)}: a model wrote them"
    silent = [one.name for one in made if one.name in without and (one.change is not None or one.name in _FROM_RETAIN)]
    if silent:
        yield f"that {', '.join(silent)} had nothing to ask: the run alone says so"
