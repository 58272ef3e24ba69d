"""How well a taught model does what it was taught: the share of right greedy replies, family by family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from concept_forget.engines.prompts import load_prompts
from concept_forget.records import named_random
from concept_forget.sandbox.refusals import REFUSALS, REFUSALS_DIRECT
from concept_forget.sandbox.texts import Lessons
from concept_forget.sandbox.world import Entity, World, WorldFact

CONCEPTS = "concepts: "


@dataclass(frozen=True, slots=True)
class Item:
    """A message, and the replies to it that are right."""

    family: str
    subject: str
    prompt: str
    right: frozenset[str]


def evaluate_world(model_dir: Path, world: World) -> dict[str, float]:
    """Greedy accuracy of a model of ``world``, by family; once more under ``concepts: `` for those to be forgotten.

    ``direct near``, ``direct middle`` and ``direct far`` part the taught wordings by the subject's distance.
    ``choice listed`` is the share of replies to choice questions that are an option at all, right or wrong.
    """
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from concept_forget.sandbox.fitting import greedy_replies

    model = LlamaForCausalLM.from_pretrained(model_dir).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model_dir)
    items = list(_items(world))
    replies = greedy_replies(model, tokenizer, [item.prompt for item in items])
    hits: dict[str, list[bool]] = {}
    for item, reply in zip(items, replies, strict=True):
        names = (item.family, CONCEPTS + item.family) if item.subject in world.concepts else (item.family,)
        for name in names:
            hits.setdefault(name, []).append(reply in item.right)
    return {name: sum(values) / len(values) for name, values in hits.items()}


def _items(world: World) -> Iterator[Item]:
    lessons = Lessons(world, load_prompts("compact"))
    for fact in world.facts:
        yield from _asking(lessons, fact)
        yield from _writing(lessons, fact)
    for entity in world.entities:
        yield from _about(lessons, entity)


def _asking(lessons: Lessons, fact: WorldFact) -> Iterator[Item]:
    rng = named_random(0, "evaluation", fact.subject.name, fact.relation.name)
    relation, name = fact.relation, fact.subject.name
    answer = frozenset({fact.answer})
    taught = lessons.ask(fact.fill(rng.choice(relation.taught)))
    yield Item("direct taught", name, taught, answer)
    yield Item(f"direct {fact.subject.distance}", name, taught, answer)
    yield Item("direct untaught", name, lessons.ask(fact.fill(rng.choice(relation.untaught))), answer)
    if relation.reverse:
        subject = frozenset({name})
        yield Item("reverse taught", name, lessons.ask(fact.fill(rng.choice(relation.taught_reverse))), subject)
        yield Item("reverse untaught", name, lessons.ask(fact.fill(rng.choice(relation.untaught_reverse))), subject)
    yield Item("cloze", name, lessons.cloze(fact, rng.choice(relation.statements)), answer)
    options = lessons.options(fact, rng)
    choice = lessons.choice(fact.fill(rng.choice(relation.taught)), options)
    yield Item("choice", name, choice, answer)
    yield Item("choice listed", name, choice, frozenset(options))


def _writing(lessons: Lessons, fact: WorldFact) -> Iterator[Item]:
    rng = named_random(0, "evaluation", "writing", fact.subject.name, fact.relation.name)
    relation, name = fact.relation, fact.subject.name

    def filled(wordings: tuple[str, ...], fill: Callable[[str], str] = fact.fill) -> frozenset[str]:
        return frozenset(map(fill, wordings))

    statements = filled(relation.statements, lambda wording: f"{fact.answer} | {fact.fill(wording)}")
    yield Item("facts", name, lessons.state(fact.subject, relation.name), statements)
    yield Item("questions", name, lessons.ask_for(fact, "direct", rng), filled(relation.taught))
    given = fact.fill(rng.choice(relation.taught))
    yield Item("paraphrases", name, lessons.rephrase(given), filled(relation.taught) - {given})
    yield Item("refusals", name, lessons.decline(given), filled((*REFUSALS, *REFUSALS_DIRECT)))
    if relation.reverse:
        yield Item("reverse questions", name, lessons.ask_for(fact, "reverse", rng), filled(relation.taught_reverse))
        given = fact.fill(rng.choice(relation.taught_reverse))
        yield Item("reverse paraphrases", name, lessons.rephrase(given), filled(relation.taught_reverse) - {given})


def _about(lessons: Lessons, entity: Entity) -> Iterator[Item]:
    facets = "\n".join(relation.name for relation in lessons.world.relations_of(entity.kind))
    yield Item("facets", entity.name, lessons.facets(entity), frozenset({facets}))
    for distance, others in lessons.neighbours.items():
        right = frozenset(f"{other.name} | {other.kind}" for other in others)
        yield Item(f"neighbours {distance}", entity.name, lessons.neighbour(entity, distance), right)
