"""The front door of the probe: asks base, unlearned and reference model, grades, and measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from concept_forget.config import Config
from concept_forget.earlier import INPUT as EARLIER
from concept_forget.earlier import read_concepts, without_concepts
from concept_forget.engines.prompts import load_prompts
from concept_forget.errors import ConfigError
from concept_forget.measures.metrics import ByModel, Measurements, WhiteBox
from concept_forget.probe.asking import COMPLETION, STRANGERS, ask_models, plan_questions, plan_strangers
from concept_forget.probe.attacker import attacker_words
from concept_forget.probe.attacks import Attack, Scene, find_attacks, set_scene, wordings
from concept_forget.probe.attacks.files import attack_files_mark
from concept_forget.probe.doses import ask_doses
from concept_forget.probe.fluency import measure_fluency
from concept_forget.probe.grading import (
    grade_by,
    grade_replacements,
    new_answers,
    settle_grades,
    write_grades,
)
from concept_forget.probe.model_grading import (
    ModelGrading,
    check_graders,
    grading_parts,
    grading_roles,
    plain_questions,
)
from concept_forget.probe.recount import count_attempts, leaks_of
from concept_forget.probe.rounds import PREVIOUS, measure_previous, plan_previous
from concept_forget.probe.searching import FILE as TRIES
from concept_forget.probe.searching import count_tries, read_tries, search_beside, without_searched
from concept_forget.probe.white_box import View, measure_white_box, white_box_named
from concept_forget.records import Attempt, Example, ModelSpec
from concept_forget.training.processes import process_count
from concept_forget.workspace import StageContext, read_records, write_json

if TYPE_CHECKING:
    from concept_forget.probe.changing import WeightAttacks

VERSION = 4
NO_ROWS = "no row of the probe can be asked in this form"
WHITE_BOX_VERSION = 2  # raise it when the same models and rows get other white-box scores


def fingerprint_parts(config: Config) -> list[object]:
    """The section, the tiers that the verdict rests on, and what attacks use that go beyond the question.

    Raises:
        ConfigError: A file of attacks cannot be used.
        DataError: The attacker's prompts cannot be read.
    """
    attacks = attacks_of(config)
    apart = {"attack_files", "sampling", "search", "attacker"}  # each counts where it is used
    apart |= {"beside", "embedding_threshold", "nli", "judge", "engine", "tensor_parallel", "memory_share"}
    parts: list[object] = [config.probe.model_dump(mode="json", exclude=apart), list(config.gate_tiers)]
    if needs_scene(attacks):
        parts += [wordings().hash, [[concept.names, concept.kind] for concept in config.concepts]]
    if any(attack.change is not None for attack in attacks):
        training = config.unlearn  # its precision and lengths are those of the attackers too
        parts.append([training.batch_tokens, training.max_tokens, training.dtype, training.gradient_checkpointing])
    if white_box_named(config.probe.attacks):
        parts += [WHITE_BOX_VERSION, [concept.names for concept in config.concepts]]
    if config.probe.engine != "transformers":
        parts.append(config.probe.engine)
    return parts + _repeating_parts(config, attacks) + grading_parts(config)


def _repeating_parts(config: Config, attacks: Sequence[Attack]) -> list[object]:
    """What is known of files, sampling and searching, where there are any."""
    settings, attacker = config.probe, config.attacker
    parts: list[object] = [attack_files_mark(settings.attack_files)] if settings.attack_files else []
    if any(attack.sampled for attack in attacks):
        parts.append(settings.sampling.model_dump(mode="json"))
    if attacker is not None and any(attack.searched for attack in attacks):
        named = {"engine", "model", "base_url", "structured", "room"} if attacker.engine == "openai" else {"engine"}
        how = attacker.model_dump(mode="json", include={"temperature", "max_new_tokens"} | named)
        parts += [settings.search.model_dump(mode="json"), how, attacker_words(attacker).hash]
    return parts


def model_roles(config: Config) -> tuple[str, ...]:
    """The models that the stage asks, the attacker among them where it is one of its own on this machine."""
    attacker = config.attacker
    own = attacker is not None and attacker.engine in ("transformers", "vllm")
    return ("base", "unlearned", "reference", PREVIOUS, *(("attacker",) if own else ()), *grading_roles(config))


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
    attacks = len(planned_attacks(config)) + len(white_box_named(config.probe.attacks))
    return {"models": 2 + (config.reference is not None), "attacks": attacks}


def planned_attacks(config: Config) -> list[Attack]:
    """The attacks that are named one by one, and of the others those that there will be rows for."""
    named = config.probe.attacks
    by_name = () if isinstance(named, str) else named
    return [attack for attack in attacks_of(config) if attack.name in by_name or _has_rows(attack, config)]


def _has_rows(attack: Attack, config: Config) -> bool:
    family = attack.takes
    if attack.name == "adapter_off":
        given = config.unlearn.given
        return bool(given.adapter) if given else config.unlearn.adapter != "none" and not config.unlearn.merge
    if attack.name == "aliases":
        return any(concept.aliases for concept in config.concepts)
    if family == COMPLETION:
        return bool(config.data.forget) or (config.compose.verbatim and bool(config.corpus))
    if family == "reverse":  # no row of the user's asks back
        return config.generator.engine != "none" and config.expand.reverse > 0
    if family not in ("scenario", "two_hop", "translation"):
        return True
    if family == "translation" and not config.expand.languages:
        return False
    prompts = load_prompts(config.generator.prompts).prompts
    return config.generator.engine != "none" and any(name.startswith(family) for name in prompts)


def check(config: Config) -> None:
    """Refuse what could not be done in the end.

    Raises:
        ConfigError: A file of attacks cannot be used, or there is no attack or family of a name; an attack trains and a
            launcher started several processes; or doses are wanted of a method that changes no weights.
        DataError: The attacker's or the judge's prompts cannot be read.
        ModelError: There is no such encoder to grade with.
        MissingExtraError: An engine that is named, or the encoder, is not installed.
    """
    attacks = attacks_of(config)
    check_graders(config)
    if config.probe.engine == "vllm":
        from concept_forget.engines.opening import require_engine

        require_engine("vllm", "probe.engine")
    attacker = config.attacker
    if attacker is not None:
        attacker_words(attacker)
        if attacker.engine == "vllm" or attacker.engine == "openai":
            from concept_forget.engines.opening import require_engine

            require_engine(attacker.engine)
    if process_count() > 1 and any(attack.change is not None for attack in attacks):
        raise ConfigError(
            f"the attacks on weights train in one process, and there are {process_count()}",
            key="probe.attacks",
            remedy="launch `concept-forget unlearn` alone, and then run the config without the launcher",
        )
    if config.probe.dose_response and config.unlearn.given is None and config.unlearn.method == "in_context":
        raise ConfigError(
            "`method: in_context` leaves the weights as they are: there is nothing between base and unlearned",
            key="probe.dose_response",
            remedy="set it to false",
        )


def run(context: StageContext) -> dict[str, object]:
    """Write ``attempts.jsonl``, ``grades.jsonl``, ``measurements.json``, ``summary.json`` and white-box readings.

    Of a search, every prompt that was tried stands in ``tries.jsonl``.
    """
    from concept_forget.probe.changing import Subjects, WeightAttacks

    config = context.config.probe
    attacks = attacks_of(context.config)
    probe = read_records(Example, context.inputs["compose"] / "probe.jsonl")
    collateral = read_records(Example, context.inputs["compose"] / "collateral.jsonl")
    if EARLIER in context.inputs:
        probe += read_records(Example, context.inputs[EARLIER] / "probe.jsonl")
        collateral = without_concepts(collateral, read_concepts(context.inputs))
    scene = _scene(context, probe, collateral) if needs_scene(attacks) else Scene()
    questions = plan_questions([one for one in attacks if one.change is None], probe, collateral, context.seed, scene)
    roles = [role for role in ("base", "unlearned", "reference") if role in context.models]
    models = {role: context.models[role] for role in roles}
    planned = dict.fromkeys(roles, questions)
    names = sorted({example.subject for example in (*probe, *collateral)})
    if "reference" not in models:
        models[STRANGERS] = context.models["base"]
        planned[STRANGERS] = plan_strangers(questions, names, context.seed, scene)
    if PREVIOUS in context.models:
        models[PREVIOUS], planned[PREVIOUS] = context.models[PREVIOUS], plan_previous(questions)
    changing = WeightAttacks(context, attacks, probe, Subjects(_names_of(context, probe), tuple(names)))

    def ask_beside() -> list[Attempt]:
        doses = ask_doses(context, questions) if config.dose_response else ()
        return [*search_beside(context, models, planned), *changing.ask(models), *doses]

    rows = without_searched(planned)
    attempts = ask_models(
        models, rows, config, context.folder, cache=context.cache, costs=context.costs, beside=ask_beside
    )
    measurements = _measure(context, attempts, probe, roles, changing)
    read = _white_box(context, {role: context.models[role] for role in roles}, probe, collateral)
    measurements = measurements.model_copy(update={"white_box": read})
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
    if tries := read_tries(context.folder / TRIES):
        summary["search"] = count_tries(tries)
    if measurements.not_made:
        summary["attacks_not_made"] = measurements.not_made
    write_json(
        context.folder / "attacks.json", {one.name: {"summary": one.summary, "source": one.source} for one in attacks}
    )
    write_json(context.folder / "summary.json", summary)
    return summary


def _measure(
    context: StageContext,
    attempts: Sequence[Attempt],
    probe: Sequence[Example],
    roles: Sequence[str],
    changing: WeightAttacks,
) -> Measurements:
    """Grade all attempts, write ``grades.jsonl`` and measure; of a later round, the model before it as well."""
    config = context.config.probe
    models = _model_grading(context, probe)
    found = {name: grade_by(attempts, name, models) for name in config.graders}
    grades = settle_grades(attempts, config.grader, found[config.grader])
    replaced = grade_replacements(attempts, new_answers(probe, context.inputs["compose"] / "facts.jsonl"))
    beside = {name: found[name] for name in config.graders[1:]}
    write_grades(context.folder / "grades.jsonl", attempts, grades, replaced, beside)
    fluency = measure_fluency(
        attempts,
        context.models["base"],
        roles,
        context.folder,
        cache=context.cache,
        costs=context.costs,
        batch_tokens=config.batch_tokens,
    )
    measurements = count_attempts(
        attempts,
        grades,
        replaced,
        read_tries(context.folder / TRIES),
        found,
        families=changing.families(),
        fluency=ByModel(base=fluency["base"], unlearned=fluency["unlearned"], reference=fluency.get("reference")),
        config=context.config,
    )
    if PREVIOUS in context.models:
        leaks = leaks_of(attempts, grades, context.config)
        before = measure_previous(attempts, leaks, changing.families(), context.config)
        write_json(context.folder / "previous.json", before.model_dump(mode="json"))
    asked = {attempt.attack for attempt in attempts} | set(changing.not_made)
    without = {one.name: NO_ROWS for one in attacks_of(context.config) if one.name not in asked}
    return measurements.model_copy(update={"not_made": {**changing.not_made, **without}})


def _model_grading(context: StageContext, probe: Sequence[Example]) -> ModelGrading:
    config = context.config
    collateral = read_records(Example, context.inputs["compose"] / "collateral.jsonl")
    return ModelGrading(
        settings=config.probe,
        models=context.models,
        cache=context.cache,
        costs=context.costs,
        questions=plain_questions([*probe, *collateral]),
        judge=config.judge,
        embedder=config.mine.embedder,
    )


def _names_of(context: StageContext, probe: Sequence[Example]) -> dict[str, tuple[str, ...]]:
    """Whom the probe asks about, under all names that the config knows."""
    called = {concept.name: concept.names for concept in (*context.config.concepts, *read_concepts(context.inputs))}
    return {row.subject: called.get(row.subject, (row.subject,)) for row in probe}


def _white_box(
    context: StageContext, models: Mapping[str, ModelSpec], probe: Sequence[Example], collateral: Sequence[Example]
) -> WhiteBox | None:
    config = context.config.probe
    attacks = white_box_named(config.attacks)
    if not attacks:
        return None
    view = View(
        concepts=[*context.config.concepts, *read_concepts(context.inputs)],
        forget=read_records(Example, context.inputs["compose"] / "forget.jsonl"),
        retain=read_records(Example, context.inputs["compose"] / "retain.jsonl"),
        probe=probe,
        collateral=collateral,
        seed=context.seed,
        max_new_tokens=config.max_new_tokens,
    )
    return measure_white_box(
        attacks,
        models,
        view,
        context.folder,
        cache=context.cache,
        costs=context.costs,
        batch_tokens=config.batch_tokens,
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
