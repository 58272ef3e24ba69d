"""Asks models whose weights an attack has changed: base, unlearned and reference alike."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from concept_forget.concept import contains_words, fold, replace_each
from concept_forget.config import Config
from concept_forget.engines.opening import open_engine
from concept_forget.engines.transformers_engine import TransformersEngine
from concept_forget.measures.strangers import recombine_names, respell_name
from concept_forget.models import load_model
from concept_forget.probe.asking import STRANGERS, Planned, ask, attempts_of, plan_questions, plan_strangers
from concept_forget.probe.attacks import Attack, Change, Material
from concept_forget.probe.rounds import PREVIOUS
from concept_forget.records import Attempt, Chat, Example, ModelSpec, content_hash, named_random, named_seed, to_json
from concept_forget.training.tuning import Tuned, Tuning
from concept_forget.workspace import StageContext, read_records

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VERSION = 1  # raise it when the same change gives other weights
FOLDER = "changed"
"""Where a stage keeps what it has of changed models; nothing is left there in the end."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """Whom a probe asks about, under all of their names, and everybody who is known by name."""

    names: Mapping[str, tuple[str, ...]]
    known: tuple[str, ...]


class WeightAttacks:
    """Those attacks of a probe that change models, and what each of them does here.

    Args:
        context: The stage's.
        attacks: All attacks of the probe.
        probe: All rows of the probe.
        subjects: Whom they are about.

    Attributes:
        not_made: Attacks that cannot be made here, each with the reason.
    """

    def __init__(
        self, context: StageContext, attacks: Sequence[Attack], probe: Sequence[Example], subjects: Subjects
    ) -> None:
        self._context, self._attacks, self._subjects = context, attacks, subjects
        self._asked = [row for row in probe if row.family == "direct"]
        self._changes: dict[str, Change] = {}
        self.not_made: dict[str, str] = {}
        own = [attack for attack in attacks if attack.change is not None]
        if own:
            self._plan(own)

    def _plan(self, attacks: Sequence[Attack]) -> None:
        probe, data = self._context.config.probe, self._context.inputs["compose"]
        material = Material(
            forget=tuple(read_records(Example, data / "forget.jsonl")),
            retain=tuple(read_records(Example, data / "retain.jsonl")),
            asked=tuple(self._asked),
            steps=probe.relearn_steps,
            share=probe.relearn_share,
            has_adapter=self._context.models["unlearned"].adapter is not None,
            seed=self._context.seed,
        )
        for attack in attacks:
            assert attack.change is not None
            change = attack.change(material) if self._asked else "the probe holds no plain question to ask"
            if isinstance(change, str):
                self.not_made[attack.name] = change
            else:
                self._changes[attack.name] = change

    def families(self) -> dict[str, str]:
        """The names under which the attempts of all attacks stand, with their families, in the attacks' order."""
        found = {}
        for attack in self._attacks:
            change = self._changes.get(attack.name)
            labels = labels_of(attack, change) if change is not None else (attack.name,)
            found.update(dict.fromkeys(labels, attack.family))
        return found

    def ask(self, models: Mapping[str, ModelSpec]) -> list[Attempt]:
        """Change every model in turn and ask it; what was answered before an interruption is not asked again.

        Nothing is loaded or trained for what is in the request cache, and no changed model is written, but for
        checkpoints of the adapter that learns, which go when it has been asked.

        Args:
            models: Base, unlearned, and reference or strangers, which are base asked about somebody else.
        """
        attempts: list[Attempt] = []
        for attack in self._attacks:
            if attack.name not in self._changes:
                continue
            change = self._changes[attack.name]
            left = [row for row in self._asked if row.fact not in change.taught]
            rows = plan_questions([attack], left, [], self._context.seed)
            for role, spec in models.items():
                own, questions = change, rows
                if role == STRANGERS:
                    own, questions = _about_strangers(change, rows, self._subjects, self._context.seed)
                if questions:
                    attempts += _ask_one(self._context, attack, own, role, spec, questions)
        shutil.rmtree(self._context.folder / FOLDER, ignore_errors=True)
        return attempts


def labels_of(attack: Attack, change: Change) -> dict[str, int]:
    """The names under which an attack's attempts stand, and the steps after which they are made.

    The whole budget has the attack's own name; what was tried on the way to it says after how many steps.
    """
    if not change.steps:
        return {attack.name: 0}
    *way, last = change.steps
    return {**{f"{attack.name} ({steps} steps)": steps for steps in way}, attack.name: last}


def _ask_one(
    context: StageContext, attack: Attack, change: Change, role: str, spec: ModelSpec, rows: Sequence[Planned]
) -> list[Attempt]:
    attempts: list[Attempt] = []
    probe = context.config.probe
    with _changed(context, attack, change, role, spec) as versions:
        for label, (changed, load) in versions.items():
            engine = open_engine(
                changed, cache=context.cache, costs=context.costs, batch_tokens=probe.batch_tokens, load=load
            )
            named = [dataclasses.replace(row, attack=label) for row in rows]
            try:
                attempts += attempts_of(role, named, ask(engine, named, probe))
            finally:
                engine.close()
    return attempts


Version = tuple[ModelSpec, "Callable[[ModelSpec], PreTrainedModel]"]
"""A changed model by its fingerprint, and how it is made when somebody asks it what is not known yet."""


@contextmanager
def _changed(
    context: StageContext, attack: Attack, change: Change, role: str, spec: ModelSpec
) -> Iterator[dict[str, Version]]:
    """The versions of one model that an attack asks, by label."""
    if change.without_adapter:
        yield {
            attack.name: (
                without_adapter(spec, context.models["base"]) if role in ("unlearned", PREVIOUS) else spec,
                load_model,
            )
        }
    elif change.edit is not None:
        yield {attack.name: (_marked(spec, attack.name), _edited(change.edit))}
    else:
        tuning = tuning_of(context.config)
        tuned = Tuned(spec, (change.rows, change.beside), tuning, context.folder / FOLDER / f"{attack.name}-{role}")
        mark = [
            dataclasses.asdict(tuning),
            [to_json(row) for row in change.rows],
            [to_json(row) for row in change.beside],
        ]
        labels = labels_of(attack, change)
        yield {label: (_marked(spec, *mark, steps), _until(tuned, steps)) for label, steps in labels.items()}
        context.costs.flops += tuned.flops
        tuned.close()  # not after an error: what is there is gone on from


def tuning_of(config: Config) -> Tuning:
    """How attackers train: as fast as ``probe`` says, and as this machine can, which ``unlearn`` knows."""
    return Tuning(
        learning_rate=config.probe.relearn_learning_rate,
        batch_tokens=config.unlearn.batch_tokens,
        max_tokens=config.unlearn.max_tokens,
        dtype=config.unlearn.dtype,
        gradient_checkpointing=config.unlearn.gradient_checkpointing,
        seed=named_seed(config.seed, "probe", "relearn"),
    )


def without_adapter(spec: ModelSpec, base: ModelSpec) -> ModelSpec:
    """What is left of a model when its adapter is taken off: base itself, where the adapter was put on it."""
    bare = dataclasses.replace(spec, adapter=None, fingerprint="")
    if bare == dataclasses.replace(base, fingerprint=""):
        return base
    return dataclasses.replace(bare, fingerprint=_marked(spec, "without adapter").fingerprint)


def _marked(spec: ModelSpec, *mark: object) -> ModelSpec:
    """The spec of a changed model: its fingerprint is that of the model and of all that was done to it."""
    return dataclasses.replace(
        spec, fingerprint=content_hash("changed", VERSION, TransformersEngine(spec).identity, *mark)
    )


def _edited(edit: Callable[..., None]) -> Callable[[ModelSpec], PreTrainedModel]:
    def load(spec: ModelSpec) -> PreTrainedModel:
        model = load_model(spec)
        edit(model)
        return model

    return load


def _until(tuned: Tuned, steps: int) -> Callable[[ModelSpec], PreTrainedModel]:
    return lambda spec: tuned.until(steps)


def _about_strangers(
    change: Change, rows: Sequence[Planned], subjects: Subjects, seed: int
) -> tuple[Change, list[Planned]]:
    """What a model learns, and is asked, that never learned the subjects: the same about people whom nobody knows.

    Where facts are taught, the rest of what can be told from them is no leak: a model that learns them about a
    stranger, and is asked the rest about the same stranger, shows how much that is.
    """
    if not change.taught:
        return change, plan_strangers(rows, subjects.known, seed)
    invented = _invent_names(subjects, seed)
    taught = [other for row in change.rows if (other := _renamed(row, subjects, invented)) is not None]
    asked = []
    for row in rows:
        other = _renamed(row.example, subjects, invented)
        if other is not None and other.prompt != row.example.prompt:
            asked.append(dataclasses.replace(row, request=dataclasses.replace(row.request, prompt=other.prompt)))
    return dataclasses.replace(change, rows=tuple(taught)), asked if taught else []


def _invent_names(subjects: Subjects, seed: int) -> dict[str, str]:
    """A name for each subject that has no word of its own names: what the models know of it is not to be called up."""
    invented: dict[str, str] = {}
    for subject, names in subjects.names.items():
        rng = named_random(seed, "probe", "relearn", "stranger", subject)
        words = {word for name in names for word in fold(name).split()}
        others = [name for name in (*subjects.known, *invented.values()) if not words & set(fold(name).split())]
        invented[subject] = recombine_names(others, rng) if others else respell_name(subject, rng)
    return invented


def _renamed(row: Example, subjects: Subjects, invented: Mapping[str, str]) -> Example | None:
    """The row about strangers instead; None where no subject is named in it, or one is still named."""
    others = {name: invented[subject] for subject, names in subjects.names.items() for name in names}
    prompt: Chat = [
        {"role": message["role"], "content": replace_each(message["content"], others)} for message in row.prompt
    ]
    completion = replace_each(row.completion, others)
    text = fold(" \n ".join([*(message["content"] for message in prompt), completion]))
    if (prompt, completion) == (row.prompt, row.completion) or any(contains_words(text, fold(n)) for n in others):
        return None
    return dataclasses.replace(row, id=Example.make_id(prompt, completion), prompt=prompt, completion=completion)
