"""Which sentences of a document state a fact: those that name its subject, and those that mean it without its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from concept_forget.compose.statements import Statements
from concept_forget.compose.wording import holds, holds_any, words
from concept_forget.concept import Concept
from concept_forget.mine.chunks import Chunk, cut, sentence_spans
from concept_forget.mine.readers import Piece
from concept_forget.records import Fact

How = Literal["named", "behind", "identified", "alike"]
HOW: dict[How, str] = {
    "named": "names the subject",
    "behind": "follows closely on a sentence that does, and names nobody else",
    "identified": "tells whom it means by another answer that is the subject's alone",
    "alike": "holds the answer, names nobody, and says of it what the fact says",
}
CLOSE = 6
"""So many sentences behind one that names a subject, a text may still speak of it as "she" or "the book"."""
PARAGRAPH = 100_000
"""Characters of a paragraph that are cut into sentences at once."""
_NAME = re.compile(r"(?<!\w)[^\W\d_a-z]\w+(?:[ -][^\W\d_a-z][\w.]*)+")


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that states a fact. ``start`` and ``end`` are its place in the document's text, in characters."""

    fact: str
    how: How
    document: str
    start: int
    end: int
    text: str


class Reader:
    """Reads the corpus sentence by sentence, in its order, and tells which facts each states.

    A sentence states a fact where it holds the fact's answer and something tells whose it is. What names somebody else
    and not the subject states nothing about it. An answer in other words is not seen.

    Args:
        facts: The facts to look for.
        known: All facts that are known, those among them: who else there is, and which answers are one subject's alone.
        concepts: The concepts, whose other names count too.
    """

    def __init__(self, facts: Sequence[Fact], known: Sequence[Fact], concepts: Sequence[Concept]) -> None:
        self._statements = Statements(facts, concepts)
        everything = Statements(known, concepts)
        self._names = {words(fact.subject): everything.names(fact) for fact in known if fact.subject}
        self._subjects = dict.fromkeys(words(fact.subject) for fact in facts)
        owners: dict[str, set[str]] = {}
        self._answers: dict[str, set[str]] = {}
        for fact in known:
            for answer in (fact.answer, *fact.aliases):
                owners.setdefault(words(answer), set()).add(words(fact.subject))
                self._answers.setdefault(words(fact.subject), set()).add(words(answer))
        self._own: dict[str, list[str]] = {subject: [] for subject in self._subjects}
        for answer, subjects in owners.items():
            (owner, *others) = sorted(subjects)
            if not others and owner in self._own and answer.strip():
                self._own[owner].append(answer)
        self._terms = {answer for answer in owners if answer.strip()}
        self._document = ""
        self._since: dict[str, int] = {}

    def read(self, piece: Piece) -> Iterator[tuple[Chunk, list[Statement], list[Fact]]]:
        """The sentences of a text, the next in the corpus's order.

        Yields:
            The sentence, what it states, and the facts whose answer it holds while nothing but its sense can tell
            whether it means them: it names nobody.
        """
        if piece.document != self._document:
            self._document, self._since = piece.document, {}
        for paragraph in cut(piece, PARAGRAPH):
            spans = (
                [(0, len(paragraph.text))] if piece.whole else sentence_spans(paragraph.text, 0, len(paragraph.text))
            )
            for start, end in spans:
                first = paragraph.start + start
                yield self._judge(Chunk(piece.document, first, first + end - start, paragraph.text[start:end]))

    def names_somebody(self, text: str) -> bool:
        """Whether a text names a subject that is known, or has a name of several words that is not."""
        return any(holds_any(text, names) for names in self._names.values()) or bool(self._strangers(text))

    def _judge(self, sentence: Chunk) -> tuple[Chunk, list[Statement], list[Fact]]:
        text = sentence.text
        here = {subject for subject, names in self._names.items() if holds_any(text, names)}
        strangers = self._strangers(text)
        is_strangers = any(text.lstrip("\"'“‘«(").startswith(name) for name in strangers)
        open_to = {s for s in self._subjects if s in here or not (is_strangers or self._others(here, s))}
        for subject in self._subjects:
            if subject in here:
                self._since[subject] = 0
            elif subject not in open_to:
                self._since.pop(subject, None)
            elif subject in self._since:
                self._since[subject] += 1
        stated: list[Statement] = []
        open_facts: list[Fact] = []
        for fact in self._answered(text):
            how = self._how(fact, text, here) if words(fact.subject) in open_to else None
            if how is not None:
                stated.append(Statement(fact.id, how, sentence.document, sentence.start, sentence.end, text))
            elif not strangers and not self._others(here, words(fact.subject)):
                open_facts.append(fact)
        return sentence, stated, open_facts

    def _others(self, here: set[str], subject: str) -> set[str]:
        """Who else is named; what is an answer of the subject, such as its book or town, is nobody else."""
        return {one for one in here if not any(holds(answer, one) for answer in self._answers[subject])}

    def _answered(self, text: str) -> list[Fact]:
        concepts = dict.fromkeys(fact.concept for fact in self._statements.facts)
        return [fact for concept in concepts for fact in self._statements.answered(text, concept)]

    def _how(self, fact: Fact, text: str, here: set[str]) -> How | None:
        subject = words(fact.subject)
        if subject in here:
            return "named"
        if self._since.get(subject, CLOSE) < CLOSE:
            return "behind"
        spelled = {words(answer) for answer in (fact.answer, *fact.aliases)}
        if any(answer not in spelled and holds(text, answer) for answer in self._own[subject]):
            return "identified"
        return None

    def _strangers(self, text: str) -> list[str]:
        """Names of several words in a row that are neither an answer nor a subject that is known, nor part of one."""
        return [
            match.group()
            for match in _NAME.finditer(text)
            if not any(holds(term, match.group()) or holds(match.group(), term) for term in self._terms)
            and not any(holds_any(match.group(), names) for names in self._names.values())
        ]
