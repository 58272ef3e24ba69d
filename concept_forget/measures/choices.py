"""Which of the options that a question offers a reply picks: by its text, its letter, its number or its place."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from concept_forget.measures.answers import Answer, read_answer
from concept_forget.measures.mentions import Mention, find_mentions, first_and_last
from concept_forget.measures.reading import Reading, read
from concept_forget.measures.standing import judge_mention
from concept_forget.measures.words import HONORIFICS, Token, clean, fold_word, same_word

_LABEL = r"(?P<label>[A-Za-z]|\d{1,2})"
_ASKS_FOR = r"(?:option|answer|choice|letter|number|no\.|candidate)"
_LABEL_PATTERNS = [
    re.compile(rf"^\W*(?:(?:the |my )?{_ASKS_FOR}(?: is)?\s*[:=]?)?\s*\(?{_LABEL}\W*$", re.I),
    re.compile(rf"^\W*{_LABEL}\s*[).:\]](?=\s|$)", re.M),
    re.compile(
        rf"\b{_ASKS_FOR}(?: is| would be)?\s*[:=]?\s*[(\[]?(?P<label>[B-Zb-z]|A|\d{{1,2}}|a(?=[).,\]]|\s*$))(?![\w'])",
        re.I,
    ),
    re.compile(rf"[(\[]{_LABEL}[)\]]"),
    re.compile(r"(?<![\w'.])(?P<label>[B-HJ-Z])(?![\w'-]|\.\w|\. [A-Z]\w)"),
    re.compile(r"(?<![\w'.])(?P<label>[A-Z])(?=,? (?:or|and|nor) [(\[]?[A-Z]\b)"),
]
_PLACE = re.compile(
    r"\b(?P<place>first|second|third|fourth|fifth|sixth|last)\s+(?:option|one|choice|answer|candidate|of\s+(?:them|these|the)\b)",
    re.I,
)
_CHOOSES = frozenset(
    "answer believe bet choice choose chose consider correct definitely guess maybe option perhaps pick picked "
    "possibly probably right say select suppose surely think".split()
)
_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True, slots=True)
class Pick:
    """The options that a reply stands by, and those that it names at all, as positions in the list."""

    affirmed: frozenset[int]
    named: frozenset[int]


def find_option(answers: Sequence[str], options: Sequence[str]) -> int | None:
    """The position of the option that one of the answers spells, whatever its case and punctuation."""
    wanted = {_spell(answer) for answer in answers}
    return next((place for place, option in enumerate(options) if _spell(option) in wanted), None)


def read_pick(reply: Reading, text: str, question: Reading, question_text: str, options: Sequence[str]) -> Pick:
    """The options that a reply picks.

    Args:
        reply: The reply, read.
        text: Its text.
        question: The question, read.
        question_text: Its text; the letters or numbers before its options are what a reply may answer with.
        options: The options, in the order shown.
    """
    blank = read("")
    answers = [read_answer(option, blank) for option in options]
    words = [frozenset(token.norm for token in answer.words) for answer in answers]
    found: list[tuple[int, Mention]] = []
    for place, answer in enumerate(answers):
        others = frozenset().union(*(words[other] for other in range(len(options)) if other != place)) - words[place]
        found.extend((place, mention) for mention in find_mentions(answer, reply, others))
    found = list(_not_inside_others(found))
    found.extend(_find_labels(reply, text, question_text, options))
    if not found:
        found.extend(_find_hints(answers, reply))
    named = frozenset(place for place, _ in found)
    affirmed = frozenset(
        place
        for place in named
        if any(
            judge_mention(reply, mention, answers[place], question) == "affirmed"
            for mention in first_and_last([mention for other, mention in found if other == place])
        )
    )
    return Pick(affirmed, named)


def _spell(text: str) -> str:
    words = [token.norm for token in read(text).tokens if token.is_word]
    kept = [word for word in words if word not in ("the", "a", "an")]
    return " ".join(kept or words)


def _not_inside_others(found: Sequence[tuple[int, Mention]]) -> Iterator[tuple[int, Mention]]:
    """The mentions that are no part of a longer mention of another option."""
    reach: dict[int, list[tuple[int, int]]] = {}  # option → start of each mention, and how far those up to it go
    for place, mention in sorted(found, key=lambda one: (one[1].start, one[1].end)):
        ends = reach.setdefault(place, [])
        ends.append((mention.start, max(mention.end, ends[-1][1] if ends else 0)))

    def furthest(place: int, start: int) -> int:
        upto = bisect.bisect_right(reach[place], start, key=lambda one: one[0])
        return reach[place][upto - 1][1] if upto else 0

    for place, mention in found:
        if not any(
            furthest(other, mention.start) > mention.end or furthest(other, mention.start - 1) == mention.end
            for other in reach
            if other != place
        ):
            yield place, mention


def _find_labels(
    reply: Reading, text: str, question_text: str, options: Sequence[str]
) -> Iterator[tuple[int, Mention]]:
    labels = _read_labels(question_text, options)
    cleaned = clean(text)
    for pattern in _LABEL_PATTERNS:
        for match in pattern.finditer(cleaned):
            place = labels.get(match["label"].upper())
            if place is not None:
                yield place, _mention_at(reply, match.start("label"))
    for match in _PLACE.finditer(cleaned):
        word = match["place"].lower()
        place = len(options) - 1 if word == "last" else _PLACES.index(word)
        if place < len(options):
            yield place, _mention_at(reply, match.start("place"))


def _read_labels(question_text: str, options: Sequence[str]) -> dict[str, int]:
    """The label of each option: letters and numbers in order, and as the question shows it."""
    shown: dict[str, int] = {}
    cleaned = clean(question_text)
    for place, option in enumerate(options):
        match = re.search(rf"(?<!\w){_LABEL}\s*[).:\]]\s*{re.escape(clean(option))}(?!\w)", cleaned)
        if match:
            shown[match["label"].upper()] = place
    letters = {chr(ord("A") + place): place for place in range(min(len(options), 26))}
    if any(any(token.value is not None for token in read(option).tokens) for option in options):
        return letters | shown
    return letters | {str(place + 1): place for place in range(len(options))} | shown


def _mention_at(reply: Reading, offset: int) -> Mention:
    index = bisect.bisect_right(reply.tokens, offset, key=lambda token: token.end)
    if index == len(reply.tokens) or reply.tokens[index].start > offset:
        index = 0
    return Mention(index, index + 1)


def _find_hints(answers: Sequence[Answer], reply: Reading) -> Iterator[tuple[int, Mention]]:
    """A word that only one of the options has tells it from the others: "Kestrel" picks "Mira Kestrel".

    Not so where the reply makes another name of it: "Mira Thorn" or "Peter Kestrel" pick nobody.
    """
    for place, answer in enumerate(answers):
        others = [token for other in range(len(answers)) if other != place for token in answers[other].words]
        for position, word in enumerate(answer.content):
            if len(fold_word(word.norm)) < 3 or any(same_word(word, token) for token in others):
                continue
            for index, token in enumerate(reply.tokens):
                if same_word(word, token) and not _is_of_another_name(reply, index, answer, position):
                    yield place, Mention(index, index + 1)


def _is_of_another_name(reply: Reading, index: int, answer: Answer, position: int) -> bool:
    """Whether the words beside a hint, the option's content word at ``position``, make another name of it."""
    hint = answer.content[position]
    before, after = _beside(reply, index, -1), _beside(reply, index, 1)
    if any(near is not None and same_word(hint, near) for near in (before, after)):
        return True  # stammered
    within_before = before if position > 0 else None
    within_after = after if position < len(answer.content) - 1 else None
    return any(_is_foreign(near, answer) for near in (within_before, within_after))


def _beside(reply: Reading, index: int, step: int) -> Token | None:
    """The word just before or after, if no sign stands between."""
    if not 0 <= index + step < len(reply.tokens):
        return None
    near = reply.tokens[index + step]
    return near if near.is_word else None


def _is_foreign(near: Token | None, answer: Answer) -> bool:
    if near is None or near.is_stop or near.norm in _CHOOSES or near.norm in HONORIFICS:
        return False
    return not any(same_word(word, near) for word in answer.words)
