"""Whether a reply names the answer as what was asked for, or as something else beside another answer."""

from __future__ import annotations

from collections.abc import Iterator

from concept_forget.measures.answers import Answer
from concept_forget.measures.mentions import Mention
from concept_forget.measures.reading import Reading
from concept_forget.measures.rivals import OPENERS, PLACE_WORDS, VERBS, find_rivals, is_bare_candidate
from concept_forget.measures.spelling import same_stem, stem
from concept_forget.measures.words import Token

_CONTRASTS = frozenset(("but", ";", ":", "while", "whereas", "although", "though", "however"))
_JOINTS = frozenset(("and", "then", "before", "after", ","))
_OFFERS = frozenset("it that this answer think guess believe say mean maybe".split())


def answers_otherwise(reading: Reading, mention: Mention, answer: Answer, question: Reading) -> bool:
    """Whether the reply gives this for something else and another answer for what was asked.

    "Born in Skelby, she later moved to Dunholm" says where she was born, and it is not Dunholm: another clause holds
    the question's own words with a rival, the mention's clause holds none of them.
    """
    asked = [
        token
        for token in question.tokens
        if token.is_word and not token.is_stop and not token.is_capital and len(token.norm) > 2
    ]
    clauses = list(_clauses(reading))
    own = next((clause for clause in clauses if clause[0] <= mention.start < clause[1]), None)
    if not asked or own is None:
        return False
    others = [clause for clause in clauses if clause != own and _asked_places(reading, clause, asked)]
    if _credits_another(reading, own, others, asked, answer, question):
        return True
    if _asked_places(reading, own, asked):
        return False
    if answer.shape == "words":
        return any(_does_another(reading, own, clause, asked, answer, question) for clause in others)
    if _leads_with_rival(reading, mention, answer, question):
        return True
    return any(
        _is_placed_alike(reading, mention, rival)
        for clause in others
        for rival in find_rivals(reading, *clause, answer, question)
    )


def _leads_with_rival(reading: Reading, mention: Mention, answer: Answer, question: Reading) -> bool:
    """Whether the reply opens with another answer and nothing else, and speaks of this one further on.

    "Botswana, on the border with Namibia"; but not "Dublin, Ireland", where the second name only says where.
    """
    first = reading.sentences[0]
    if answer.shape != "name" or not reading.is_cased or (first.terminator == "?" and mention.start >= first.end):
        return False
    marks = (",", ";", "(", "-", "while", "whereas")
    end = next((i for i in range(first.start, first.end) if reading.tokens[i].norm in marks), first.end)
    words = [token for token in reading.tokens[first.start : end] if token.is_word]
    if end > mention.start or not all(token.is_capital or token.is_stop for token in words):
        return False
    if len(words) == 1 and (words[0].norm.endswith("ly") or words[0].norm in OPENERS):
        return False
    if not is_bare_candidate(reading, first.start, end, answer, question):
        return False
    start = max((i for i in range(end, mention.start) if not reading.tokens[i].is_word), default=end) + 1
    lead = {token.norm for token in reading.tokens[start : mention.start]}
    apart = mention.start >= first.end or reading.tokens[end].norm == "("
    goes_on = apart and mention.end < len(reading.tokens) and reading.tokens[mention.end].is_word
    return (bool(lead) or goes_on) and not lead & _OFFERS


def _credits_another(
    reading: Reading,
    own: tuple[int, int],
    others: list[tuple[int, int]],
    asked: list[Token],
    answer: Answer,
    question: Reading,
) -> bool:
    """What was asked is done by a rival, and not in this clause: "Ingrid only signed it; it was written by Oskar"."""
    if not answer.is_person:
        return False
    done_here = {stem(asked[place].norm) for place in _asked_places(reading, own, asked)}
    for clause in others:
        for rival in find_rivals(reading, *clause, answer, question):
            before = reading.tokens[rival - 2].norm if rival > clause[0] + 1 else ""
            if reading.tokens[rival - 1].norm != "by" or stem(before) in done_here:
                continue
            if any(same_stem(before, token.norm) for token in asked):
                return True
    return False


def _does_another(
    reading: Reading,
    own: tuple[int, int],
    clause: tuple[int, int],
    asked: list[Token],
    answer: Answer,
    question: Reading,
) -> bool:
    """For answers that are no names: the asked word directly followed by a rival, in contrast to this clause."""
    first, last = sorted((own, clause))
    between = {token.norm for token in reading.tokens[max(first[0] - 1, 0) : last[0]]}
    if not between & _CONTRASTS - {";", ":"}:
        return False
    rivals = set(find_rivals(reading, *clause, answer, question))
    for index in range(clause[0], clause[1] - 1):
        if any(same_stem(reading.tokens[index].norm, token.norm) for token in asked):
            following = index + 1
            while following < clause[1] - 1 and reading.tokens[following].norm in ("the", "a", "an"):
                following += 1
            if following in rivals:
                return True
    return False


def _clauses(reading: Reading) -> Iterator[tuple[int, int]]:
    for sentence in reading.sentences:
        start, verbal = sentence.start, False  # whether a verb stands between the two
        for index in range(sentence.start, sentence.end):
            token = reading.tokens[index]
            if token.norm in _CONTRASTS or (token.norm in _JOINTS and verbal):
                yield start, index
                start, verbal = index + 1, False
            else:
                verbal = verbal or token.norm in VERBS or _is_verbal(token)
        yield start, sentence.end


def _is_verbal(token: Token) -> bool:
    return token.norm.endswith("ed") and not token.is_capital


def _asked_places(reading: Reading, clause: tuple[int, int], asked: list[Token]) -> list[int]:
    """Which of the question's words the clause holds."""
    words = [token.norm for token in reading.tokens[clause[0] : clause[1]] if token.is_word]
    return [place for place, token in enumerate(asked) if any(same_stem(word, token.norm) for word in words)]


def _is_placed_alike(reading: Reading, mention: Mention, rival: int) -> bool:
    """A place is a rival to a place only: both stand behind a preposition, or neither does."""
    return _is_placed(reading, mention.start) == _is_placed(reading, rival)


def _is_placed(reading: Reading, index: int) -> bool:
    place = index - 1
    while place > 0 and (reading.tokens[place].norm in ("the", "a", "an") or reading.looks_like_name(place)):
        place -= 1
    return place >= 0 and reading.tokens[place].norm in PLACE_WORDS
