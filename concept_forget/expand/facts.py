"""Facets of every subject, and the facts that the generator states for each."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from concept_forget.concept import Concept
from concept_forget.config import ExpandConfig
from concept_forget.expand.gates import NAMES_CONCEPT, check_facet, check_fact, comparable
from concept_forget.expand.neighbours import Subject
from concept_forget.expand.replies import Item
from concept_forget.expand.writer import Wish, Writer
from concept_forget.records import Fact

FACETS, FACTS = "facets", "facts"
Check = Callable[[str, str, tuple[str, ...]], str | None]
"""``check_fact``."""
FACET_DRAWS = 3
"""Listings of a concept's facets at temperature, beside the greedy one: what one forgets, another may name."""

FACT_DRAWS = 5
"""Rounds at temperature for facets of a concept that still lack a fact or a second sentence."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One facet of one subject.

    Args:
        subject: What its facts are about.
        facet: Its name.
        wanted: Facts asked for.
        other: What they may be about instead, where they do not name the subject.
    """

    subject: Subject
    facet: str
    wanted: int = 1
    other: Subject | None = None

    @property
    def parents(self) -> tuple[str, ...]:
        """What its facts come from."""
        return (self.subject.name, *(["keep"] if self.subject.kept else []), self.facet)

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What its facts may be about, likeliest first."""
        return (self.subject, *([self.other] if self.other else []))

    def subject_of(self, answer: str, sentences: Sequence[str], check: Check) -> Subject:
        """What a stated fact is about."""
        for subject in self.subjects:
            if any(check(answer, sentence, subject.names) is None for sentence in sentences):
                return subject
        return self.subject

    @property
    def variables(self) -> dict[str, object]:
        """What the prompt for its facts is filled in with."""
        return {"concept": self.subject.concept, "facet": self.facet}


@dataclass(slots=True)
class StatedFact:
    """A fact, the subject it is about, and all sentences that state it, the fact's own first."""

    fact: Fact
    subject: Subject
    sentences: list[str] = field(default_factory=list)


def list_facets(writer: Writer, subjects: Sequence[Subject], config: ExpandConfig) -> list[Topic]:
    """The facets of every subject, at most ``expand.facets`` of each.

    A concept whose ``forget`` names facets has these. Of other concepts the listings are united, the facets in most
    listings first; a neighbour's come from one greedy listing.

    Raises:
        StageError: No facet was found at all.
    """
    asked = [subject for subject in subjects if not subject.concept.forget]
    own = [subject for subject in asked if subject.distance is None]
    wishes = [Wish((s.name,), {"concept": s.concept}, config.facets) for s in asked]
    drawn = [Wish((s.name,), {"concept": s.concept}, config.facets, draw) for s in own for draw in range(FACET_DRAWS)]
    replies = [
        *zip(asked, writer.gather(FACETS, "facets", wishes, greedy=True), strict=True),
        *zip([s for s in own for _ in range(FACET_DRAWS)], writer.gather(FACETS, "facets", drawn), strict=True),
    ]
    votes: dict[str, Counter[str]] = {subject.name: Counter() for subject in asked}
    first: dict[tuple[str, str], str] = {}
    for subject, items in replies:
        for key, facet in _distinct(writer, subject, items).items():
            votes[subject.name][key] += 1
            first.setdefault((subject.name, key), facet)
    topics = []
    for subject in subjects:
        if subject.concept.forget:
            topics += [Topic(subject, facet, config.facts_per_facet) for facet in subject.concept.forget]
            continue
        ranked = sorted(votes[subject.name].items(), key=lambda entry: -entry[1])  # stable: among equals, first come
        facets = [first[subject.name, key] for key, _ in ranked]
        topics += [Topic(subject, facet, config.facts_per_facet) for facet in facets[: config.facets]]
        for facet in facets[config.facets :]:
            writer.ledger.reject(FACETS, "more than were asked for", facet, (subject.name,))
    writer.ledger.accept(FACETS, len(topics))
    if not any(topic.subject.distance is None for topic in topics):
        raise writer.ledger.fail(FACETS, "no facet of any concept was found", _REMEDY)
    return topics


def _distinct(writer: Writer, subject: Subject, items: Sequence[Item]) -> dict[str, str]:
    """The facets of one listing that get through, by their comparable form."""
    facets: dict[str, str] = {}
    for (facet,) in items:
        reason = check_facet(facet, subject.concept)
        if reason is None and comparable(facet) in facets:
            reason = "listed already"
        if reason:
            writer.ledger.reject(FACETS, reason, facet, (subject.name,))
        else:
            facets[comparable(facet)] = facet
    return facets


def state_facts(writer: Writer, topics: Sequence[Topic], concepts: Sequence[Concept]) -> list[StatedFact]:
    """At most as many facts of every topic as it wants; a subject has an answer in one facet only.

    All topics are asked greedily; a concept's are asked again at temperature while a fact or a second sentence is
    missing. A second sentence that states a fact anew makes a second cloze wording.
    """
    pool = _Pool(writer, concepts)
    for number in range(1 + FACT_DRAWS):
        asked = [topic for topic in topics if number == 0 or pool.wants_more(topic)]
        wishes = [Wish(topic.parents, topic.variables, topic.wanted, number) for topic in asked]

        def gate(place: int, item: Item, asked: Sequence[Topic] = asked) -> None:
            pool.look(asked[place], *item)

        replies = writer.gather(FACTS, "facts", wishes, greedy=number == 0, gate=gate)
        for topic, items in zip(asked, replies, strict=True):
            for answer, *sentences in items:
                pool.add(topic, answer, [sentence for sentence in sentences if sentence])
    facts = [fact for topic in topics for fact in pool.of(topic)]
    writer.ledger.accept(FACTS, len(facts))
    return facts


def require_own_facts(writer: Writer, facts: Sequence[StatedFact]) -> None:
    """Without a fact about any concept there is nothing to ask for.

    Raises:
        StageError: There is none.
    """
    if not any(stated.subject.distance is None for stated in facts):
        raise writer.ledger.fail(FACTS, "no fact about any concept was stated", _REMEDY)


class _Pool:
    """The facts stated so far."""

    def __init__(self, writer: Writer, concepts: Sequence[Concept]) -> None:
        self._facts: dict[tuple[str, ...], list[StatedFact]] = {}
        self._writer = writer
        self._concepts = concepts
        self._check = functools.cache(check_fact)
        self._taken: set[tuple[str, bool, str]] = set()  # (subject, whether in the kept scope, comparable answer)

    def look(self, topic: Topic, answer: str, *sentences: str) -> None:
        """Find out of which of the topic's subjects the sentences state the answer."""
        for sentence in filter(None, sentences):
            for subject in topic.subjects:
                self._check(answer, sentence, subject.names)

    def of(self, topic: Topic) -> list[StatedFact]:
        return self._facts.setdefault(topic.parents, [])

    def wants_more(self, topic: Topic) -> bool:
        facts = self.of(topic)
        lacks = len(facts) < topic.wanted or any(len(stated.sentences) < 2 for stated in facts)
        return topic.subject.distance is None and lacks

    def add(self, topic: Topic, answer: str, sentences: list[str]) -> None:
        """Take a stated fact in, or put its sentence with the fact that it states anew, or reject it."""
        facts = self.of(topic)
        subject = topic.subject_of(answer, sentences, self._check)
        place = (subject.name, subject.kept, comparable(answer))
        text = " | ".join((answer, *sentences))
        fitting = [s for s in sentences if self._check(answer, s, subject.names) is None]
        if reason := self._refuse(subject, answer, sentences, fitting):
            self._writer.ledger.reject(FACTS, reason, text, topic.parents)
        elif known := next((f for f in facts if comparable(f.fact.answer) == place[-1]), None):
            new = [s for s in fitting if comparable(s) not in map(comparable, known.sentences)]
            known.sentences += new[:1]
            if not new:
                self._writer.ledger.reject(FACTS, "stated already in these words", text, topic.parents)
        elif place in self._taken:
            self._writer.ledger.reject(FACTS, "the subject has this answer in another facet", text, topic.parents)
        elif len(facts) >= topic.wanted:
            self._writer.ledger.reject(FACTS, "another answer came first", text, topic.parents)
        else:
            self._taken.add(place)
            facts.append(StatedFact(self._record(topic, subject, answer, fitting[0]), subject, fitting[:1]))
            if len(fitting) > 1:
                self.add(topic, answer, fitting[1:])

    def _refuse(self, subject: Subject, answer: str, sentences: list[str], fitting: list[str]) -> str | None:
        if not fitting:
            return self._check(answer, sentences[0] if sentences else "", subject.names)
        unnamed = [concept for concept in self._concepts if not (subject.kept and subject.name == concept.name)]
        if subject.distance is not None and any(
            concept.mentioned_in(text) for concept in unnamed for text in (answer, *fitting)
        ):
            return NAMES_CONCEPT
        return None

    def _record(self, topic: Topic, subject: Subject, answer: str, sentence: str) -> Fact:
        return Fact(
            id=Fact.make_id(subject.name, topic.facet, answer),
            concept=subject.owner,
            subject=subject.name,
            kind=subject.concept.kind,
            facet=topic.facet,
            answer=answer,
            sentence=sentence,
            distance=subject.distance,
            parents=topic.parents,
            prompt_hash=self._writer.prompts.get("facts").hash,
            kept=subject.kept,
        )


_REMEDY = "check the concept's name, kind and description, `generator.prompts` and the generator itself"
