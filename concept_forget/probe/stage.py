"""The front door of the probe: asks base, unlearned and reference model, grades, and measures."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from concept_forget.config import Config
from concept_forget.earlier import INPUT as EARLIER
from concept_forget.earlier import read_concepts, without_concepts
from concept_forget.engines.prompts import load_prompts
from concept_forget.measures.metrics import ByModel
from concept_forget.probe.asking import COMPLETION, STRANGERS, Planned, ask_models, plan_questions, plan_strangers
from concept_forget.probe.attacker import Attacker, attacker_words
from concept_forget.probe.attacks import ATTACKS, Attack, Scene, find_attacks, set_scene, wordings
from concept_forget.probe.attacks.files import attack_files_mark
from concept_forget.probe.fluency import measure_fluency
from concept_forget.probe.grading import (
    grade_attempts,
    grade_replacements,
    graders_of,
    leak,
    new_answers,
    write_grades,
)
from concept_forget.probe.measuring import measure
from concept_forget.probe.repeated import add_repeated
from concept_forget.probe.searching import Try, search_models
from concept_forget.records import Attempt, Example, ModelSpec
from concept_forget.workspace import StageContext, read_records, write_json

VERSION = 2


def fingerprint_parts(config: Config) -> list[object]:
    """The section, the tiers that the verdict rests on, and what attacks use that go beyond the question.

    Raises:
        ConfigError: A file of attacks cannot be used.
        DataError: The attacker's prompts cannot be read.
    """
    settings, attacks = config.probe, attacks_of(config)
    apart = {"attack_files", "sampling", "search", "attacker"}
    parts: list[object] = [settings.model_dump(mode="json", exclude=apart), list(config.gate_tiers)]
    if needs_scene(attacks):
        parts += [wordings().hash, [[concept.names, concept.kind] for concept in config.concepts]]
    if settings.attack_files:
        parts.append(attack_files_mark(settings.attack_files))
    if any(attack.sampled for attack in attacks):
        parts.append(settings.sampling.model_dump(mode="json"))
    if any(attack.searched for attack in attacks) and (attacker := config.attacker) is not None:
        named = {"engine", "model", "base_url", "structured", "room"} if attacker.engine == "openai" else {"engine"}
        how = attacker.model_dump(mode="json", include={"temperature", "max_new_tokens"} | named)
        parts += [settings.search.model_dump(mode="json"), how, attacker_words(attacker).hash]
    return parts


def model_roles(config: Config) -> tuple[str, ...]:
    """The models that the stage asks, the attacker among them where it is one of its own on this machine."""
    attacker = config.attacker
    own = attacker is not None and attacker.engine in ("transformers", "vllm")
    return ("base", "unlearned", "reference", *(("attacker",) if own else ()))


def check(config: Config) -> None:
    """Refuse attacks that do not exist and an attacker that cannot be asked here, before anything is taught.

    Raises:
        ConfigError: A file of attacks cannot be used, or there is no attack or family of a name.
        DataError: The attacker's prompts cannot be read.
        MissingExtraError: The attacker's engine is not installed.
    """
    attacks_of(config)
    attacker = config.attacker
    if attacker is None:
        return
    attacker_words(attacker)
    if attacker.engine == "vllm" or attacker.engine == "openai":
        from concept_forget.engines.opening import require_engine

        require_engine(attacker.engine)


def attacks_of(config: Config) -> list[Attack]:
    """The attacks that a config asks for; what is searched for is left out where nobody is there to search.

    Raises:
        ConfigError: A file of attacks cannot be used, or there is no attack or family of a name.
    """
    found = find_attacks(config.probe)
    return [attack for attack in found if not attack.searched or config.attacker is not None]


def needs_scene(attacks: Sequence[Attack]) -> bool:
    """Whether there is an attack among them that uses more than its question."""
    return not all(attack.quick and not attack.file for attack in attacks)


def estimate(config: Config) -> dict[str, int]:
    """Models that are asked, and attacks that each one meets, as far as there will be rows for them.

    Of what only some generators write, what is not asked for by name counts where the prompts ask for it.
    """
    return {"models": 2 + (config.reference is not None), "attacks": len(planned_attacks(config))}


def planned_attacks(config: Config) -> list[Attack]:
    """The attacks that are named one by one, and of the others those that there will be rows for."""
    named = config.probe.attacks
    by_name = () if isinstance(named, str) else named
    return [attack for attack in attacks_of(config) if attack.name in by_name or _has_rows(attack, config)]


def _has_rows(attack: Attack, config: Config) -> bool:
    family = attack.takes
    if attack.name == "aliases":
        return any(concept.aliases for concept in config.concepts)
    if family == COMPLETION:
        return bool(config.data.forget) or (config.compose.verbatim and bool(config.corpus))
    if family not in ("scenario", "two_hop", "translation"):
        return True
    if family == "translation" and not config.expand.languages:
        return False
    prompts = load_prompts(config.generator.prompts).prompts
    return config.generator.engine != "none" and any(name.startswith(family) for name in prompts)


def run(context: StageContext) -> dict[str, object]:
    """Write ``attempts.jsonl``, ``grades.jsonl``, ``measurements.json`` and ``summary.json``.

    Of a search, every prompt that was tried stands in ``tries.jsonl``.
    """
    config = context.config.probe
    attacks = attacks_of(context.config)
    probe = read_records(Example, context.inputs["compose"] / "probe.jsonl")
    collateral = read_records(Example, context.inputs["compose"] / "collateral.jsonl")
    if EARLIER in context.inputs:
        probe += read_records(Example, context.inputs[EARLIER] / "probe.jsonl")
        collateral = without_concepts(collateral, read_concepts(context.inputs))
    scene = _scene(context, probe, collateral) if needs_scene(attacks) else Scene()
    questions = plan_questions(attacks, probe, collateral, context.seed, scene)
    roles = [role for role in ("base", "unlearned", "reference") if role in context.models]
    models = {role: context.models[role] for role in roles}
    planned = dict.fromkeys(roles, questions)
    if "reference" not in models:
        names = sorted({example.subject for example in (*probe, *collateral)})
        models[STRANGERS] = context.models["base"]
        planned[STRANGERS] = plan_strangers(questions, names, context.seed, scene)
    attempts, tries = _ask(context, models, planned)
    grades = grade_attempts(attempts, config.grader)
    new = new_answers(probe, context.inputs["compose"] / "facts.jsonl")
    replaced = grade_replacements(attempts, new)
    write_grades(context.folder / "grades.jsonl", attempts, grades, replaced)
    fluency = measure_fluency(
        attempts,
        context.models["base"],
        roles,
        context.folder,
        cache=context.cache,
        costs=context.costs,
        batch_tokens=config.batch_tokens,
    )
    leaks = [leak(grade, name) for grade, name in zip(grades, graders_of(attempts, config.grader), strict=True)]
    measurements = measure(
        attempts,
        leaks,
        attack_families={attack.name: attack.family for attack in attacks},
        gate_tiers=context.config.gate_tiers,
        threshold=config.threshold,
        fluency=ByModel(base=fluency["base"], unlearned=fluency["unlearned"], reference=fluency.get("reference")),
        replaced=[float(grade.leaked) if grade else None for grade in replaced],
    )
    measurements = add_repeated(measurements, attempts, leaks, tries, config.grader)
    write_json(context.folder / "measurements.json", measurements.model_dump(mode="json"))
    summary: dict[str, object] = {
        "attempts": len(attempts),
        "questions": len(questions),
        "models": roles,
        "outcome": measurements.verdict.outcome,
        "replies_cut_by_length": sum(attempt.finish_reason == "length" for attempt in attempts),
        "empty_replies": {
            role: sum(attempt.model == role and not attempt.reply.strip() for attempt in attempts) for role in roles
        },
    }
    if tries:
        summary["search"] = _count_tries(tries)
    if needs_scene(attacks):
        asked = {question.attack for question in questions}
        summary["attacks_without_questions"] = [attack.name for attack in attacks if attack.name not in asked]
    write_json(context.folder / "summary.json", summary)
    return summary


def _ask(
    context: StageContext, models: Mapping[str, ModelSpec], planned: Mapping[str, Sequence[Planned]]
) -> tuple[list[Attempt], list[Try]]:
    """What counts of what each model was asked, and all that searches tried."""
    tries = _search(context, models, planned)
    attempts = ask_models(
        models,
        {role: [row for row in rows if not _is_searched(row)] for role, rows in planned.items()},
        context.config.probe,
        context.folder,
        cache=context.cache,
        costs=context.costs,
        further=[one.attempt for one in tries if one.chosen],
    )
    return attempts, tries


def _count_tries(tries: Sequence[Try]) -> dict[str, dict[str, int]]:
    """Prompts that were tried on each model, and those that were thrown away."""
    counted = {one.attempt.model: {"prompts_tried": 0, "prompts_discarded": 0} for one in tries}
    for one in tries:
        counted[one.attempt.model]["prompts_tried"] += 1
        counted[one.attempt.model]["prompts_discarded"] += one.discarded
    return counted


def _is_searched(row: Planned) -> bool:
    attack = ATTACKS.get(row.attack)
    return attack is not None and attack.searched


def _search(
    context: StageContext, models: Mapping[str, ModelSpec], planned: Mapping[str, Sequence[Planned]]
) -> list[Try]:
    """What searches tried on each model; nothing where none is asked for."""
    from concept_forget.engines.opening import open_generator

    rows = {role: [row for row in asked if _is_searched(row)] for role, asked in planned.items()}
    settings = context.config.attacker
    if settings is None or not any(rows.values()):
        return []
    spec = context.models["base"] if settings.engine == "target" else context.models.get("attacker")
    engine = open_generator(settings, spec, cache=context.cache, costs=context.costs)
    with contextlib.closing(engine):
        return search_models(
            models,
            rows,
            context.config.probe,
            Attacker(engine, attacker_words(settings), settings),
            context.folder,
            cache=context.cache,
            costs=context.costs,
        )


def _scene(context: StageContext, probe: Sequence[Example], collateral: Sequence[Example]) -> Scene:
    concepts = [*context.config.concepts, *read_concepts(context.inputs)]
    retain = read_records(Example, context.inputs["compose"] / "retain.jsonl")
    return set_scene(
        concepts,
        probe,
        [*retain, *collateral],
        seed=context.seed,
        distraction_words=context.config.probe.distraction_words,
    )
