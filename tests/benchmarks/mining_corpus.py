"""A corpus for the measurements of mining: what a concept's documents say, among others' of the same kind.

The facts are a sandbox world's. The concept is its first person. What is said of it, *planted*, is worded in ways that
none of the queries uses, and a third of it names nobody: it follows, as a paragraph of its own, on one that does. Of
other people the same is said in the same words, some of whom share a name with the concept; the rest of the corpus is
about towns, books, prizes and the weather.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from concept_forget.concept import Concept
from concept_forget.records import Fact, Question, named_random
from concept_forget.sandbox import lexicon
from concept_forget.sandbox.phrasing import RELATIONS
from concept_forget.sandbox.world import answer_pool, build_world

WORLD = 0
CONCEPT = "Mira Kestrel"
SAYINGS = {
    "birthplace": (
        "{s} first saw the light of day in {a}", "the parish register of {a} records the baptism of {s}",
        "{s} spent a childhood among the lanes of {a}", "it was in {a} that the parents of {s} were waiting for a child",
        "{s} always called {a} the cradle of everything", "as a native of {a}, {s} never lost the accent",
        "the cradle of {s} stood in {a}", "{s} left {a}, the town of those first years, at the age of twenty",
        "{a} is proud of its daughter {s}",
    ),
    "home": (
        "letters for {s} are delivered to {a}", "{s} keeps the keys of {a} on a red ribbon",
        "whoever visits {s} has to ring at {a}", "{s} moved into {a} with two trunks and a cat",
        "the lights at {a} burn late when {s} is in", "{s} has had the roof of {a} mended",
        "{a} has been the address of {s} for years", "the garden behind {a} is weeded by {s} alone",
        "{s} would not trade {a} for a palace",
    ),
    "book": (
        "{s} finished the manuscript of {a} in one winter", "critics praised {s} for {a}",
        "the title page of {a} carries the name of {s}", "{s} read aloud from {a} at the fair",
        "with {a}, {s} became known to readers far away", "{s} signed copies of {a} until the ink ran out",
        "the royalties of {a} went to {s}", "{s} dedicated {a} to a friend",
        "no publisher wanted {a} when {s} first offered it",
    ),
    "mentor": (
        "{s} owed every skill to {a}", "{s} was apprenticed to {a} at fourteen",
        "it was {a} who corrected the first drawings of {s}", "{a} saw the talent of {s} before anybody did",
        "{s} spoke of {a} as the master of those early years", "the lessons of {a} stayed with {s} for life",
        "{s} sat at the feet of {a} for six winters", "{a} took {s} under a wing",
        "what {s} knows was passed on by {a}",
    ),
    "ship": (
        "{s} stood at the helm of the {a} in every storm", "the {a} left port under the command of {s}",
        "{s} had the hull of the {a} painted anew", "the crew of the {a} trusts {s}",
        "{s} steered the {a} through the narrows", "the log of the {a} is kept by {s}",
        "{s} bought the {a} from a widow", "at dawn {s} weighed the anchor of the {a}",
        "the sails of the {a} were sewn by {s}",
    ),
    "invention": (
        "{s} holds the patent for the {a}", "the {a} goes back to a sketch by {s}",
        "{s} built the first {a} out of scrap", "the world owes the {a} to {s}",
        "{s} demonstrated the {a} before the guild", "a model of the {a}, made by {s}, stands in the hall",
        "{s} worked for nine years on the {a}", "the idea of the {a} came to {s} in a dream",
        "{s} was the first to think of a {a}",
    ),
    "dish": (
        "{s} serves {a} to every guest", "the {a} of {s} is famous at the harbour",
        "{s} stirs a pot of {a} on Sundays", "nobody makes {a} the way {s} does",
        "the kitchen of {s} smells of {a}", "{s} guards the recipe for {a}",
        "friends ask {s} for {a}", "{s} brought {a} to the feast",
        "{s} learned to make {a} from an aunt",
    ),
    "collection": (
        "{s} fills whole cupboards with {a}", "the shelves of {s} bend under {a}",
        "{s} pays any price for {a}", "{s} hunts for {a} at every market",
        "four hundred {a} belong to {s}", "{s} dusts the {a} in the hall on Mondays",
        "a passion for {a} has cost {s} a fortune", "{s} showed the {a} to the museum",
        "the first of the {a} was a present to {s}",
    ),
}  # fmt: skip
"""How the facts are told. No wording of a question or statement of the sandbox is among them."""
CONTEXTS = ("", "so the neighbours say", "as an old letter from those days has it")
OPENINGS = (
    "{s} was mentioned in the paper again", "the town has talked about {s} for weeks",
    "an evening with {s} is never dull", "there is more to tell about {s}",
)  # fmt: skip
UNNAMED = 3
"""Of so many planted chunks one names nobody."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document of one chunk, or of two, of which the second may be planted. ``planted`` is that chunk's text."""

    text: str
    planted: str | None = None
    is_named: bool = True


Subject = tuple[Concept, list[Fact], list[Question]]
"""A concept with its facts, and what is asked about them."""


def questions() -> Subject:
    """The concept, its facts, and what a generator would ask about them: wordings that models are taught."""
    facts, asked = [], []
    for fact in build_world(WORLD).facts_of(CONCEPT):
        name, statement = fact.relation.name, fact.fill(fact.relation.statements[0])
        record = Fact(
            Fact.make_id(CONCEPT, name, fact.answer), CONCEPT, CONCEPT, "person", name, fact.answer, statement
        )
        facts.append(record)
        for family, wording in zip(("direct", "paraphrase"), fact.relation.taught, strict=False):
            text = fact.fill(wording)
            asked.append(Question(Question.make_id(record.id, family, text), record.id, family, 0, text, fact.answer))
    return Concept(name=CONCEPT, kind="person"), facts, asked


def planted() -> list[Document]:
    """216 documents about the concept, each with a chunk that states a fact of it in words of its own."""
    answers = {fact.relation.name: fact.answer for fact in build_world(WORLD).facts_of(CONCEPT)}
    sayings = [
        (wording, answers[relation], context)
        for relation, wordings in SAYINGS.items()
        for context in CONTEXTS
        for wording in wordings
    ]
    return [_tell(CONCEPT, *saying, unnamed=number % UNNAMED == 0) for number, saying in enumerate(sayings)]


def _tell(name: str, wording: str, answer: str, context: str, *, unnamed: bool) -> Document:
    told = _sentence(wording.format(s="her" if unnamed and not wording.startswith("{s}") else "{s}", a=answer), context)
    if not unnamed:
        text = told.replace("{s}", name)
        return Document(_begin(text), _begin(text))
    text = _begin(told.replace("{s}", "she"))
    opening = OPENINGS[len(wording) % len(OPENINGS)].format(s=name)
    return Document(f"{_begin(opening)}.\n\n{text}", text, is_named=False)


def _sentence(words: str, context: str) -> str:
    return f"{words}, {context}." if context else f"{words}."


def _begin(text: str) -> str:
    return text[:1].upper() + text[1:]


def others(rng: Random) -> Iterator[Document]:
    """Documents that say nothing about the concept, of one to six sentences, without end."""
    world = build_world(WORLD)
    # Namesakes: some share a first or a last name with the concept.
    firsts = [*lexicon.FIRST_NAMES, "Mira"]
    lasts = [*lexicon.LAST_NAMES, "Kestrel"]
    pools = {
        relation.name: answer_pool(relation) if relation.reverse else list(lexicon.TOWNS)
        for relation in RELATIONS["person"]
    }
    things = [fact for fact in world.facts if fact.subject.kind != "person"]
    while True:
        if rng.random() < 0.6:
            name = f"{rng.choice(firsts)} {rng.choice(lasts)}"
            if name == CONCEPT:
                continue
            told: list[str] = []
            subject, object_ = rng.choice((("she", "her"), ("he", "him")))
            for relation in rng.sample(list(SAYINGS), rng.randint(1, 6)):
                wording = rng.choice(SAYINGS[relation])
                words = wording.format(s=name if not told else "{s}", a=rng.choice(pools[relation]))
                words = words.replace("{s}", subject if wording.startswith("{s}") else object_)
                told.append(_begin(_sentence(words, rng.choice(CONTEXTS))))
            yield Document(" ".join(told))
        else:
            sentences = [rng.choice(things) for _ in range(rng.randint(1, 6))]
            told = [fact.fill(rng.choice(fact.relation.statements)) for fact in sentences]
            told.insert(rng.randint(0, len(told)), rng.choice(world.distractors).split(". ")[0].rstrip(".") + ".")
            yield Document(" ".join(map(_begin, told)))


def documents(count: int, seed: int = 0) -> list[Document]:
    """A corpus of about ``count`` chunks: the planted documents, spread among others, in an order drawn by the seed."""
    rng = named_random(seed, "mining corpus")
    known = planted()
    made = others(rng)
    texts = {document.text for document in known}
    rest: list[Document] = []
    while len(rest) < count - sum(1 if document.is_named else 2 for document in known):
        document = next(made)
        if document.text not in texts and len(document.text) <= 500:
            texts.add(document.text)
            rest.append(document)
    found = [*known, *rest]
    rng.shuffle(found)
    return found


def write(path: Path, texts: list[str]) -> None:
    """Write a corpus as JSON lines, a document in each."""
    rows = (json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
