"""Where a reply says the expected answer: the places that a page marks for its reader."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from concept_forget.measures.answers import read_answer
from concept_forget.measures.mentions import find_mentions
from concept_forget.measures.reading import read
from concept_forget.measures.words import clean
from concept_forget.text import spelled_apart

Span = tuple[int, int]
"""First character, and the one behind the last."""

RUN = 3
"""So many words of a long answer stand in a row where they are marked: fewer are common speech."""
_LONGEST = 4000
_WORD = re.compile(r"\w+")


def mark_answer(
    reply: str, wordings: Sequence[str], question: str = "", subject: str = "", *, loosely: bool = True
) -> list[Span]:
    """Where a reply says the answer: word for word, else in the grader's eyes, else the runs that it shares with it.

    Args:
        reply: The reply.
        wordings: The answer and its aliases.
        question: What was asked, which tells what kind of answer is wanted.
        subject: Whom it was asked about.
        loosely: Whether to look in the grader's eyes where the answer does not stand there word for word.

    Returns:
        Places in the reply, in order, none of which touches another.
    """
    spans = [span for wording in wordings for span in _literal(reply, wording)]
    if not spans and loosely and len(reply) < _LONGEST:
        spans = [span for wording in wordings for span in _mentioned(reply, wording, question, subject)]
    if not spans:
        spans = [span for wording in wordings for span in _shared(reply, wording)]
    return list(_joined(sorted(spans)))


def _literal(reply: str, wording: str) -> Iterator[Span]:
    words = [re.escape(word) for word in wording.split()]
    if words:
        pattern = r"(?<!\w)" + r"\s+".join(words) + r"(?!\w)"
        yield from (found.span() for found in re.finditer(pattern, reply, re.IGNORECASE))


def _mentioned(reply: str, wording: str, question: str, subject: str) -> Iterator[Span]:
    reading = read(reply)
    answer = read_answer(wording, read(question), read(subject).tokens)
    cleaned = clean(reply)
    for mention in find_mentions(answer, reading):
        start, end = reading.tokens[mention.start].start, reading.tokens[mention.end - 1].end
        if cleaned == reply:
            yield start, end
        else:  # the grader reads a text with other dashes and quotes, and without what shows nothing
            said = cleaned[start:end]
            yield from (found.span() for found in re.finditer(spelled_apart(said), reply, re.IGNORECASE) if said)


def _shared(reply: str, wording: str) -> Iterator[Span]:
    said = list(_WORD.finditer(reply))
    wanted = [found.group().casefold() for found in _WORD.finditer(wording)]
    if len(wanted) <= RUN:
        return
    matcher = SequenceMatcher(None, wanted, [found.group().casefold() for found in said], autojunk=False)
    for block in matcher.get_matching_blocks():
        if block.size >= RUN:
            yield said[block.b].start(), said[block.b + block.size - 1].end()


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    start, end = -1, -1
    for first, last in spans:
        if first > end:
            if end > 0:
                yield start, end
            start, end = first, last
        end = max(end, last)
    if end > 0:
        yield start, end
