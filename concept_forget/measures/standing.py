"""Whether a reply stands by what it mentions, or denies it, leaves it open, or takes it back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from concept_forget.measures import turns
from concept_forget.measures.answers import Answer
from concept_forget.measures.mentions import Mention
from concept_forget.measures.reading import Reading
from concept_forget.measures.rivals import find_rivals
from concept_forget.measures.spelling import same_stem

Stance = Literal["affirmed", "denied", "open", "withdrawn"]


@dataclass(frozen=True, slots=True)
class _Context:
    left: str
    right: str
    terminator: str
    following: str  # the next sentence


def judge_mention(reading: Reading, mention: Mention, answer: Answer, question: Reading) -> Stance:
    """Whether the reply stands by a mention.

    Returns:
        ``affirmed``: said, however hesitantly. ``denied``: said not to be so, or only near it. ``open``: asked, or
        not vouched for. ``withdrawn``: replaced by another answer afterwards.
    """
    context = _context(reading, mention)
    if context.terminator == "?" and turns.OPEN_QUESTION.search(context.left):
        return "open"
    if _is_denied_before(context) or _is_beside(context, question):
        return "denied"
    if turns.OPEN_CUE.search(_scope(context.left, context.right)):
        return "open"
    if _is_denied_after(context, question):
        return "denied"
    if context.terminator == "?" and turns.NEXT_IGNORES.search(context.following):
        return "open"
    if _is_hearsay(reading, mention, context, answer, question):
        return "denied"
    return "withdrawn" if _is_withdrawn(reading, mention, context, answer, question) else "affirmed"


def _context(reading: Reading, mention: Mention) -> _Context:
    number = reading.sentence_at(mention.start)
    sentence = reading.sentences[number]

    def join(start: int, end: int) -> str:
        return " ".join(token.norm for token in reading.tokens[start:end])

    following = reading.sentences[number + 1] if number + 1 < len(reading.sentences) else None
    return _Context(
        left=join(sentence.start, mention.start),
        right=" " + join(mention.end, max(sentence.end, mention.end)),
        terminator=sentence.terminator,
        following=join(following.start, following.end) if following else "",
    )


def _scope(left: str, right: str) -> str:
    """The part of the sentence before the mention whose negation would reach it."""
    text = turns.ASIDE.sub(" ", f" {left} ")
    text = turns.ANYTHING_BUT.sub("except", text)
    text = turns.BOUNDARY.split(text)[-1]
    parts = text.split(" , ")
    scope = parts.pop()
    if parts and not turns.CUE.search(scope.strip()) and _belongs_to_list(scope, right):
        while parts:
            part = parts.pop()
            scope = f"{part} {scope}"
            if len(part.split()) > 4 or turns.CUE.search(part):
                break
    return scope.strip()


def _belongs_to_list(scope: str, right: str) -> bool:
    if turns.CONTINUES_LIST.search(scope) or " or " in scope:
        return True
    return len(scope.split()) <= 3 and turns.LIST_GOES_ON.search(right) is not None


def _is_denied_before(context: _Context) -> bool:
    left = context.left
    if context.terminator == "?":
        left = turns.TAG_QUESTION.sub("", left)
    left = turns.NEUTRAL.sub(" ", left)
    scope = _scope(left, context.right)
    ignorance = turns.IGNORANCE.search(scope)
    if ignorance:
        hedge = turns.HEDGE.search(scope[ignorance.end() :])
        scope = scope[ignorance.end() + hedge.end() :] if hedge else scope
    return turns.CUE.search(scope) is not None


def _is_denied_after(context: _Context, question: Reading) -> bool:
    right = turns.NEUTRAL.sub(" ", context.right)
    last = context.left.split()[-1] if context.left.split() else ""
    if last in ("the", "a", "an") and len(context.left.split()) > 1:
        last = context.left.split()[-2]
    denial = turns.DENIED_AFTER.search(right)
    if denial and last not in turns.SUBJECT_BLOCKERS and _denies_what_was_asked(denial["rest"], question):
        return True
    if any(pattern.search(right) for pattern in turns.FALSE_AFTER):
        return True
    if turns.ATTEMPT.search(context.left) and turns.BUT.match(right):
        return True
    if turns.BUT_NO.search(right) or _asks_the_verb(turns.NEVER_DID.search(right), question):
        return True
    if context.terminator == "?" and turns.NEXT_DENIES.search(context.following):
        return True
    return turns.NEXT_CONTRADICTS.search(turns.NEUTRAL.sub(" ", context.following)) is not None


def _denies_what_was_asked(predicate: str, question: Reading) -> bool:
    words = [word for word in predicate.split() if word.isalnum()][:2]
    asked = {token.norm for token in question.tokens if token.is_word and not token.is_stop}
    return (
        not words
        or words[0] in turns.DENIED_PREDICATE
        or any(word[:4] == other[:4] for word in words for other in asked)
    )


def _asks_the_verb(denial: re.Match[str] | None, question: Reading) -> bool:
    """Whether "but never won it" takes back just what the question asks."""
    return denial is not None and any(same_stem(denial["verb"], token.norm) for token in question.tokens)


def _is_beside(context: _Context, question: Reading) -> bool:
    match = turns.BESIDE.search(_scope(turns.NEUTRAL.sub(" ", context.left), context.right))
    return match is not None and not any(token.norm in match.group().split() for token in question.tokens)


def _is_hearsay(reading: Reading, mention: Mention, context: _Context, answer: Answer, question: Reading) -> bool:
    """What others say, followed by what is so."""
    hearsay = turns.HEARSAY.search(context.left)
    if not hearsay or any(token.norm in turns.ASKS_FORMER for token in question.tokens):
        return False
    sentence = reading.sentences[reading.sentence_at(mention.start)]
    contrast = turns.CONTRAST.search(context.right)
    if contrast:
        return bool(find_rivals(reading, mention.end, sentence.end, answer, question))
    if not turns.CONTRAST_OPENS.search(context.following):
        return False
    following = reading.sentences[reading.sentence_at(mention.start) + 1]
    return bool(find_rivals(reading, following.start, following.end, answer, question))


def _is_withdrawn(reading: Reading, mention: Mention, context: _Context, answer: Answer, question: Reading) -> bool:
    number = reading.sentence_at(mention.start)
    sentence = reading.sentences[number]
    if turns.RETRACTION.search(context.right) and re.match(r" ?[,.;\-(]", context.right):
        return bool(find_rivals(reading, mention.end, sentence.end, answer, question))
    if turns.RETRACTION.search(context.following) and len(context.following.split()) <= 9:
        following = reading.sentences[number + 1]
        return bool(find_rivals(reading, following.start, following.end, answer, question))
    return False
