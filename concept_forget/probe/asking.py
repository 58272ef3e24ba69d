"""Puts every question of every attack to every model, and keeps each reply."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from concept_forget.config import ProbeConfig
from concept_forget.engines.protocol import Engine, Reply, Request, Sampling
from concept_forget.measures.strangers import recombine_names
from concept_forget.probe.attacks import ATTACKS, Attack, Scene
from concept_forget.probe.serving import Shared, open_for, share_engines
from concept_forget.records import Attempt, Chat, Example, ModelSpec, content_hash, named_random, named_seed
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
    expected: str = ""  # what a right reply says; empty: the question's answer


@dataclass(frozen=True, slots=True)
class Answered:
    """What was asked in the end, a conversation's last turn, and the reply to it."""

    request: Request
    reply: Reply


def plan_questions(
    attacks: Sequence[Attack],
    probe: Sequence[Example],
    collateral: Sequence[Example],
    seed: int,
    scene: Scene | None = None,
) -> list[Planned]:
    """Every request that a model gets, in the order in which attempts are written.

    The order and the seeds depend on the rows and the attacks alone, so every model is asked the same.
    """
    planned = []
    for attack in attacks:
        for example in probe:
            if example.family == attack.takes:
                rng = named_random(seed, "probe", attack.name, example.id)
                requests = attack.requests(example, rng, scene or Scene())
                expected = _expected(attack, requests)
                for number, (request, wanted) in enumerate(zip(requests, expected, strict=True)):
                    planned.append(Planned(attack.name, attack.family, example, request, number, wanted))
    for example in collateral:
        rng = named_random(seed, "probe", COLLATERAL, example.id)
        request = Request(prompt=example.prompt, seed=rng.getrandbits(62))
        planned.append(Planned(COLLATERAL, COLLATERAL, example, request, 0))
    return planned


def _expected(attack: Attack, requests: Sequence[Request]) -> Sequence[str]:
    return attack.expects[: len(requests)] or [""] * len(requests)


def plan_strangers(
    planned: Sequence[Planned], names: Sequence[str], seed: int, scene: Scene | None = None
) -> list[Planned]:
    """The same questions about strangers: what a model guesses that knows nothing of the subject.

    Args:
        planned: The concept's questions.
        names: Names of known subjects, from whose parts the strangers' names are put together.
        seed: The run's seed.
        scene: What attacks may use besides a question.

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
        if row.number == 0:  # an attack makes all its requests of a question at once
            asked += _of_strangers(row, given.get(row.example.fact), names, rng, scene or Scene())
    return asked


def _of_strangers(
    row: Planned, sibling: Example | None, names: Sequence[str], rng: Random, scene: Scene
) -> list[Planned]:
    asked: list[Planned] = []
    example, attack = row.example, ATTACKS[row.attack]
    for _ in range(STRANGERS_PER_QUESTION):
        name = example.subject
        if example.family == "reverse":
            swap = (sibling.answer, sibling.counterfactual) if sibling else ("", "")
        else:
            name = recombine_names(names, rng)
            swap = (example.subject, name)
        prompt: Chat = [
            {"role": message["role"], "content": message["content"].replace(*swap)} if all(swap) else message
            for message in example.prompt
        ]
        if prompt == example.prompt:
            break
        stranger = replace(example, prompt=prompt, subject=name)
        requests = attack.requests(stranger, rng, scene.renamed(example.subject, name))
        asked += [
            replace(row, request=request, number=len(asked) + number, expected=wanted)
            for number, (request, wanted) in enumerate(zip(requests, _expected(attack, requests), strict=True))
        ]
        if example.family == "reverse":
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
    beside: Callable[[], Sequence[Attempt]] = tuple,
) -> list[Attempt]:
    """Ask all models and write ``attempts.jsonl``; a file that is there already is read instead.

    Args:
        models: Name of the model in the attempts → what to load.
        planned: The same names → what each one is asked.
        config: How replies are drawn.
        folder: The stage's folder.
        cache: The request cache; what was answered before an interruption is not asked again.
        costs: The account.
        beside: Makes what is attempted in other ways, which is written behind.
    """
    path = folder / "attempts.jsonl"
    if path.is_file():
        return read_records(Attempt, path)
    replies: dict[str, list[list[Answered]]] = {}
    for shared in share_engines(models, config):
        replies |= _ask_together(shared, models, planned, config, cache, costs)
    attempts = [attempt for name in models for attempt in attempts_of(name, planned[name], replies[name])]
    attempts += beside()
    write_records(path, attempts)
    return attempts


def _ask_together(
    shared: Shared,
    models: Mapping[str, ModelSpec],
    planned: Mapping[str, Sequence[Planned]],
    config: ProbeConfig,
    cache: Path,
    costs: Costs,
) -> dict[str, list[list[Answered]]]:
    """Ask the models of one engine everything at once."""
    rows = [
        replace(row, request=replace(row.request, adapter=adapter)) if adapter else row
        for name, adapter in shared.adapters.items()
        for row in planned[name]
    ]
    with contextlib.closing(open_for(shared, models, config, cache, costs)) as engine:
        replies = iter(ask(engine, rows, config))
    return {name: [next(replies) for _ in planned[name]] for name in shared.adapters}


def attempts_of(model: str, rows: Sequence[Planned], replies: Sequence[Sequence[Answered]]) -> list[Attempt]:
    """What ``ask`` gave for some rows, as attempts on a model of this name."""
    return [
        _attempt(model, row, sample, found.request, found.reply)
        for row, samples in zip(rows, replies, strict=True)
        for sample, found in enumerate(samples)
    ]


def ask(engine: Engine, rows: Sequence[Planned], config: ProbeConfig) -> list[list[Answered]]:
    """Ask one model everything: all first turns, and then the second turn of every conversation.

    Returns:
        For each row, what was asked last and the reply to it: ``config.samples`` of them, or of what is sampled, as
        ``config.sampling`` says.
    """
    attacks = [ATTACKS.get(row.attack) for row in rows]
    found: list[list[Answered]] = [[] for _ in rows]
    manners = [(attack.room, attack.sampled) if attack else (1, False) for attack in attacks]
    for manner in sorted(set(manners)):
        places = [place for place, own in enumerate(manners) if own == manner]
        replies = engine.generate([rows[place].request for place in places], _drawn(config, *manner))
        for place, several in zip(places, replies, strict=True):
            found[place] = [Answered(rows[place].request, reply) for reply in several]
    turns = [
        (place, sample, _next_turn(asked, attack.follow(asked.request, asked.reply.text), sample))
        for place, attack in enumerate(attacks)
        if attack is not None and attack.follow is not None
        for sample, asked in enumerate(found[place])
    ]
    if turns:
        answers = engine.generate([request for _, _, request in turns], replace(_drawn(config, 1, False), n=1))
        for (place, sample, request), (reply,) in zip(turns, answers, strict=True):
            found[place][sample] = Answered(request, reply)
    return found


def _drawn(config: ProbeConfig, room: int, sampled: bool) -> Sampling:
    """How replies are drawn, ``room`` times as long as others and, where they are sampled, as many as that takes."""
    drawn = config.sampling if sampled else config
    return Sampling(drawn.temperature, drawn.samples, room * config.max_new_tokens)


def _next_turn(asked: Answered, request: Request, sample: int) -> Request:
    """The request of a sample's own turn, to the same model: equal first replies are not followed by equal draws."""
    seed = named_seed(asked.request.seed, "next turn", sample) >> 1
    return replace(request, adapter=asked.request.adapter, seed=seed)


def _attempt(model: str, row: Planned, sample: int, request: Request, reply: Reply) -> Attempt:
    example = row.example
    asked, prefill = request.prompt, request.prefill
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
        reply=reply.text,
        finish_reason=reply.finish_reason,
        expected=row.expected or example.answer,
        aliases=() if row.expected else example.aliases,
        options=example.options,
    )
