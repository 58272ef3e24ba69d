"""Puts every question of every attack to every model, and keeps each reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from concept_forget.config import ProbeConfig
from concept_forget.engines.opening import open_engine
from concept_forget.engines.protocol import Request, Sampling
from concept_forget.measures.strangers import recombine_names
from concept_forget.probe.attacks import Attack
from concept_forget.records import Attempt, Chat, Example, ModelSpec, content_hash, named_random
from concept_forget.workspace import Costs, read_records, write_records

STRANGERS = "strangers"
"""The name under which base's replies about invented strangers stand, where there is no reference model."""

STRANGERS_PER_QUESTION = 5
COLLATERAL = "collateral"
COMPLETION = "completion"
_NO_SIBLINGS = ("reverse", "two_hop", COMPLETION)
"""Families whose rows are not answered with their fact's answer."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A question as one attack puts it."""

    attack: str
    family: str
    example: Example
    request: Request
    number: int  # counts the requests that the attack makes of one question


def plan_questions(
    attacks: Sequence[Attack], probe: Sequence[Example], collateral: Sequence[Example], seed: int
) -> list[Planned]:
    """Every request that a model gets, in the order in which attempts are written.

    The order and the seeds depend on the rows and the attacks alone, so every model is asked the same.
    """
    planned = []
    for attack in attacks:
        for example in probe:
            if example.family == attack.takes:
                rng = named_random(seed, "probe", attack.name, example.id)
                for number, request in enumerate(attack.requests(example, rng)):
                    planned.append(Planned(attack.name, attack.family, example, request, number))
    for example in collateral:
        rng = named_random(seed, "probe", COLLATERAL, example.id)
        request = Request(prompt=example.prompt, seed=rng.getrandbits(62))
        planned.append(Planned(COLLATERAL, COLLATERAL, example, request, 0))
    return planned


def plan_strangers(planned: Sequence[Planned], names: Sequence[str], seed: int) -> list[Planned]:
    """The same questions about strangers: what a model guesses that knows nothing of the subject.

    Args:
        planned: The concept's questions.
        names: Names of known subjects, from whose parts the strangers' names are put together.
        seed: The run's seed.

    A question that does not name its subject (a reverse one names the answer instead) gives the counterfactual's place
    to the answer where both are known, and is left out where not: then that attack has a floor of no questions.

    The opening of a text brings the text to mind under another name too: in its place stands another text's opening,
    or where there is none, another question.
    """
    given = {row.example.fact: row.example for row in planned if row.example.family not in _NO_SIBLINGS}
    asked = []
    for row in planned:
        if row.attack == COLLATERAL:
            continue
        rng = named_random(seed, STRANGERS, row.example.id)
        if row.example.family == COMPLETION:
            asked += _other_questions(row, planned, rng)
            continue
        sibling = given.get(row.example.fact)
        for number in range(STRANGERS_PER_QUESTION):
            if row.example.family == "reverse":
                swap = (sibling.answer, sibling.counterfactual) if sibling else ("", "")
            else:
                swap = (row.example.subject, recombine_names(names, rng))
            prompt = [
                {"role": message["role"], "content": message["content"].replace(*swap)} if all(swap) else message
                for message in row.example.prompt
            ]
            if prompt == row.example.prompt:
                break
            request = Request(prompt=prompt, seed=rng.getrandbits(62))  # type: ignore[arg-type]  # still a chat
            asked.append(replace(row, request=request, number=number))
            if row.example.family == "reverse":
                break
    return asked


def _other_questions(row: Planned, planned: Sequence[Planned], rng: Random) -> list[Planned]:
    others = [other for other in planned if other.example.fact != row.example.fact]
    alike = [other for other in others if other.attack == row.attack and other.number == row.number] or others
    if not alike:
        return []
    chosen = [rng.choice(alike).request for _ in range(STRANGERS_PER_QUESTION)]
    first = row.number * STRANGERS_PER_QUESTION
    return [replace(row, request=request, number=first + number) for number, request in enumerate(chosen)]


def ask_models(
    models: Mapping[str, ModelSpec],
    planned: Mapping[str, Sequence[Planned]],
    config: ProbeConfig,
    folder: Path,
    *,
    cache: Path,
    costs: Costs,
) -> list[Attempt]:
    """Ask each model in turn and write ``attempts.jsonl``; a file that is there already is read instead.

    Args:
        models: Name of the model in the attempts → what to load.
        planned: The same names → what each one is asked.
        config: How replies are drawn.
        folder: The stage's folder.
        cache: The request cache; what was answered before an interruption is not asked again.
        costs: The account.
    """
    path = folder / "attempts.jsonl"
    if path.is_file():
        return read_records(Attempt, path)
    sampling = Sampling(temperature=config.temperature, n=config.samples, max_new_tokens=config.max_new_tokens)
    attempts: list[Attempt] = []
    for name, spec in models.items():
        rows = planned[name]
        engine = open_engine(spec, cache=cache, costs=costs, batch_tokens=config.batch_tokens)
        try:
            replies = engine.generate([row.request for row in rows], sampling)
        finally:
            engine.close()
        attempts += [
            _attempt(name, row, sample, reply.text, reply.finish_reason)
            for row, samples in zip(rows, replies, strict=True)
            for sample, reply in enumerate(samples)
        ]
    write_records(path, attempts)
    return attempts


def _attempt(model: str, row: Planned, sample: int, text: str, finish_reason: str) -> Attempt:
    example = row.example
    asked, prefill = row.request.prompt, row.request.prefill
    prompt: Chat = []
    if isinstance(asked, str):  # raw text: nobody is asked, and the reply goes on with it
        prefill = asked + prefill
    else:
        prompt = asked
    return Attempt(
        id=content_hash("attempt", model, row.attack, example.id, row.number, sample),
        model=model,
        attack=row.attack,
        family=row.family,
        tier=example.tier,
        concept=example.concept,
        subject=example.subject,
        fact=example.fact,
        example=example.id,
        sample=sample,
        prompt=prompt,
        prefill=prefill,
        reply=text,
        finish_reason=finish_reason,
        expected=example.answer,
        aliases=example.aliases,
        options=example.options,
    )
