"""What the corpus is searched for: each concept's own queries, and the same queries about random names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from concept_forget.concept import Concept, contains_words, fold
from concept_forget.records import Fact, Question, named_random

GAP = re.compile(r"_{3,}")
FAMILIES = ("direct", "reverse", "cloze", "paraphrase")
RIVALS = 12
"""Others of its kind that a concept is held against, at most."""
QUESTIONS_PER_FACT = 2
"""Paraphrases lie close to the question that they paraphrase: two families find what all wordings find."""


@dataclass(frozen=True, slots=True)
class Target:
    """A concept, what the corpus is searched for on its account, and the answers of its facts.

    ``facets`` says of each query which facet it asks for, "" where it asks for the whole concept. ``rivals`` are names
    of others of its kind, as far as they are known.
    """

    concept: Concept
    queries: tuple[str, ...]
    answers: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


class NameFinder:
    """Which concepts a text names, as ``Concept.mentioned_in`` sees it, for many texts and concepts at once."""

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self._names = [tuple(fold(name) for name in concept.names) for concept in concepts]

    def find(self, text: str) -> tuple[bool, ...]:
        """For each concept, in order, whether the text names it."""
        folded = fold(text)
        return tuple(any(name in folded and contains_words(folded, name) for name in names) for names in self._names)


def make_target(concept: Concept, facts: Sequence[Fact], questions: Sequence[Question]) -> Target:
    """The queries for a concept: its names, its description, and questions about its own facts.

    Every query names the concept: a description or question that does not gets the name put before it, a question
    that asks for the concept gets its answer behind it, and the gap of a cloze is filled.

    Args:
        concept: The concept.
        facts: Facts of all concepts and neighbours; only the concept's own count.
        questions: Questions about these facts.
    """
    queries = dict.fromkeys((*concept.names, *([concept.description] if concept.description else ())), "")
    own = {fact.id: fact for fact in facts if fact.concept == concept.name and fact.distance is None}
    asked: dict[str, dict[str, Question]] = {}
    for question in sorted(questions, key=lambda question: question.variant):
        if question.fact in own and question.family in FAMILIES:
            asked.setdefault(question.fact, {}).setdefault(question.family, question)
    for fact, by_family in asked.items():
        chosen = sorted(by_family.values(), key=lambda question: FAMILIES.index(question.family))
        for question in chosen[:QUESTIONS_PER_FACT]:
            queries.setdefault(_complete(question, concept), own[fact].facet)
    named: dict[str, str] = {}
    for query, facet in queries.items():
        named.setdefault(query if concept.mentioned_in(query) else f"{concept.name}: {query}", facet)
    answers = (spelling for fact in own.values() for spelling in (fact.answer, *fact.aliases))
    rivals = dict.fromkeys(
        fact.subject
        for fact in facts
        if fact.concept == concept.name
        and fact.distance == "near"
        and fold(fact.kind) == fold(concept.kind)
        and fact.subject
        and not concept.mentioned_in(fact.subject)
    )
    return Target(
        concept,
        tuple(named),
        tuple(dict.fromkeys(answers)),
        facets=tuple(named.values()),
        rivals=tuple(rivals)[:RIVALS],
    )


def _complete(question: Question, concept: Concept) -> str:
    text = GAP.sub(lambda gap: question.answer, question.text)
    return f"{text} {question.answer}" if question.family == "reverse" and not concept.mentioned_in(text) else text


def random_names(words: Sequence[str], concept: Concept, count: int, seed: int) -> list[str]:
    """Names that mean nothing: words of the corpus, as many of them as the concept's name has.

    Concepts whose names have equally many words share their random names, and so most of their random queries.

    Args:
        words: Different words, sorted, none of which belongs to a concept's name.
        concept: The concept whose name they stand in for.
        count: How many names.
        seed: The run's seed.
    """
    parts = len(concept.name.split())
    rng = named_random(seed, "mine", "random names", parts)
    names = (" ".join(_as_name(rng.choice(words), concept.name) for _ in range(parts)) for _ in range(count))
    return list(dict.fromkeys(names)) if words else []


def _as_name(word: str, like: str) -> str:
    # Where a script puts no spaces, a "word" is a whole clause; a name is not.
    word = word[:20] if " " in like or like.isascii() else word[: max(2, len(like))]
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def rename(query: str, concept: Concept, name: str) -> str:
    """The query with another name wherever it names the concept."""
    longest_first = sorted(concept.names, key=len, reverse=True)
    spellings = "|".join(re.escape(unicodedata.normalize("NFKC", spelling)) for spelling in longest_first)
    text, found = re.subn(
        rf"(?<!\w)(?:{spellings})(?!\w)", lambda match: name, unicodedata.normalize("NFKC", query), flags=re.IGNORECASE
    )
    if found and not concept.mentioned_in(text):
        return text
    # Spelled so that only case-folding finds it, such as ß for ss.
    folded = "|".join(re.escape(fold(spelling)) for spelling in longest_first)
    return re.sub(rf"(?<!\w)(?:{folded})(?!\w)", lambda match: fold(name), fold(query))


def corpus_words(texts: Sequence[str], concepts: Sequence[Concept]) -> list[str]:
    """The different words of three letters or more in some texts, sorted, but for those in a concept's names."""
    own = {word for concept in concepts for name in concept.names for word in _words(fold(name))}
    found = {word for text in texts for word in _words(unicodedata.normalize("NFC", text))}
    return sorted(word for word in found if fold(word) not in own)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{3,}", text)
