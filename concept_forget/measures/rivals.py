"""What else a reply offers beside the answer: other candidates, and lists of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from concept_forget.measures.answers import Answer
from concept_forget.measures.mentions import Mention
from concept_forget.measures.reading import Reading, Sentence
from concept_forget.measures.words import same_word

_HEDGES = frozenset("maybe perhaps possibly probably likely either even else both potentially conceivably".split())
_ALTERNATING = frozenset(("or", "/", "|", "versus"))
SEPARATORS = _ALTERNATING | {",", "and", "&", ";"}
# "Paris, or so I think", "Paris or thereabouts": nothing is offered.
_NO_CANDIDATE = frozenset(
    "so something thereabouts similar whatever rather not at that it i he she they we you more less near nearby "
    "somewhere someone who which where when because then as if such another other others".split()
)
VERBS = frozenset(
    "is was are were be been has have had does do did can could may might must should would will think guess believe "
    "know said says lived worked died moved born became went made wrote called named began spoke took gave sang ran "
    "got met left came won held stood fell grew kept built drew found led sold taught told chose broke drove rose saw "
    "sat spent paid brought bought caught lost sent".split()
)
OPENERS = frozenset(
    "however but actually no wait sorry in it she he they the that this there i yes well so and or maybe perhaps "
    "possibly probably then later after before although though while when instead rather not sure certainly absolutely "
    "hello hi okay ok great good thanks indeed unfortunately sorry interesting here first second oh ah hmm".split()
)
_SEVERAL = re.compile(
    r"\b(some|examples?|any|one of|list|names of"
    r"|(which|what) (?!does|is|was|has|gives|makes|causes)(\w+ing |main |major )?\w{2,}[^isu]s\b)",
    re.I,
)
PLACE_WORDS = frozenset("in at from near to of".split())
_MAYBE = re.compile(r"\b(maybe|perhaps|possibly|might|could|may|or|either)\b")


@dataclass(frozen=True, slots=True)
class _Item:
    start: int
    end: int
    joint: str  # what stands before it: ",", "or", …, empty at the sentence's start


def count_candidates(reading: Reading, mention: Mention, answer: Answer, question: Reading) -> int:
    """How many answers the reply offers in one breath with this mention; 1 when it commits to it.

    "Or" always offers alternatives. "And" does from three things on, unless the question asks for several or the
    answer itself names several. A bare list ("Paris, Lyon, London") counts from three, or four behind a preposition
    ("in Dunholm, County Durham, England" is one place).
    """
    number = reading.sentence_at(mention.start)
    in_sentence = _count_in_sentence(reading, reading.sentences[number], mention, answer, question)
    return max(in_sentence, _count_in_lines(reading, number, mention, answer, question))


def find_rivals(reading: Reading, start: int, end: int, answer: Answer, question: Reading) -> list[int]:
    """Tokens that could stand for another answer of the same shape, neither in the question nor in the answer."""
    known = [token for token in (*question.tokens, *answer.words) if token.is_word]
    openings = {sentence.start for sentence in reading.sentences}
    return [
        index
        for index, token in enumerate(reading.tokens[start:end], start)
        if token.is_word
        and not token.is_stop
        and not (token.norm in OPENERS and index in openings)
        and _has_shape(reading, index, answer)
        and not any(same_word(word, token) for word in known)
    ]


def _has_shape(reading: Reading, index: int, answer: Answer) -> bool:
    token = reading.tokens[index]
    match answer.shape:
        case "name":
            return reading.looks_like_name(index) and token.norm not in OPENERS
        case "words":
            return token.norm not in VERBS | OPENERS | _NO_CANDIDATE and token.value is None
        case "number":
            return token.value is not None
        case _:
            return token.value is not None or any(date.start == index for date in reading.dates)


def is_bare_candidate(reading: Reading, start: int, end: int, answer: Answer, question: Reading) -> bool:
    """Whether tokens ``start`` to ``end`` hold one thing of the answer's shape and nothing else."""
    if any(token.norm in SEPARATORS for token in reading.tokens[start:end]):
        return False
    return _is_whole_candidate(reading, _Item(start, end, ""), answer, question)


def _count_in_sentence(
    reading: Reading, sentence: Sentence, mention: Mention, answer: Answer, question: Reading
) -> int:
    items = list(_split_items(reading, sentence, mention))
    own = next((number for number, item in enumerate(items) if item.start <= mention.start < item.end), None)
    if own is None:
        return 1
    first = last = own
    while last + 1 < len(items) and _is_candidate(reading, items[last + 1], answer, question, leading=True):
        last += 1
        if not _is_whole_candidate(reading, items[last], answer, question):
            break
    is_clean = _is_whole_candidate(reading, items[own], answer, question)
    while first > 0 and (first < own or is_clean or items[own].joint in _ALTERNATING):
        if not _is_candidate(reading, items[first - 1], answer, question, leading=False):
            break
        first -= 1
        if not _is_whole_candidate(reading, items[first], answer, question):
            break
    joints = {item.joint for item in items[first + 1 : last + 1]}
    chain = [item for number, item in enumerate(items[first : last + 1], start=first) if number != own]
    others = {_spell(reading, item) for item in chain if not _holds(reading, item, answer)}
    count = len(others) + answer.parts
    if not others:
        return 1
    return count if _offers_choice(reading, items[first : last + 1], joints, count, answer, question) else 1


def _offers_choice(
    reading: Reading, items: list[_Item], joints: set[str], count: int, answer: Answer, question: Reading
) -> bool:
    lead = [reading.tokens[index].norm for index in range(items[0].start, items[0].end)]
    if joints & _ALTERNATING:
        return True
    if "between" in lead:
        return True
    if all(any(reading.tokens[i].norm in _HEDGES for i in range(item.start, item.end)) for item in items):
        return True
    if answer.parts > 1:
        return count > 2 * answer.parts
    if _SEVERAL.search(" ".join(token.norm for token in question.tokens)):
        return False
    if joints & {"and", "&"}:
        return count > 2
    is_place = any(norm in PLACE_WORDS for norm in lead)
    return count >= (4 if is_place else 3)


def _split_items(reading: Reading, sentence: Sentence, mention: Mention) -> Iterator[_Item]:
    start, joint = sentence.start, ""
    for index in range(sentence.start, sentence.end):
        norm = reading.tokens[index].norm
        inside = mention.start <= index < mention.end
        ranging = norm in ("-", "to") and _stands_between_numbers(reading, index)
        if inside or not (norm in SEPARATORS or ranging):
            continue
        if any(token.is_word for token in reading.tokens[start:index]):
            yield _Item(start, index, joint)
            joint = ""
        joint = "or" if ranging else norm if norm in _ALTERNATING or not joint else joint
        start = index + 1
    if any(token.is_word for token in reading.tokens[start : sentence.end]):
        yield _Item(start, sentence.end, joint)


def _stands_between_numbers(reading: Reading, index: int) -> bool:
    """A range of amounts ("10 to 15"); a range of years is not, since its first year may be the answer."""
    if index == 0 or index + 1 >= len(reading.tokens):
        return False
    values = (reading.tokens[index - 1].value, reading.tokens[index + 1].value)
    return all(value is not None and value < 1000 for value in values)


def _core(reading: Reading, item: _Item) -> list[int]:
    """The item's words from the first that is no hedge and no function word."""
    words = [index for index in range(item.start, item.end) if reading.tokens[index].is_word]
    while words and (reading.tokens[words[0]].is_stop or reading.tokens[words[0]].norm in _HEDGES):
        if reading.tokens[words[0]].norm in _NO_CANDIDATE:
            break
        words.pop(0)
    return words


def _spell(reading: Reading, item: _Item) -> tuple[str, ...]:
    return tuple(reading.tokens[index].norm for index in _core(reading, item))


def _holds(reading: Reading, item: _Item, answer: Answer) -> bool:
    """Whether the item only says the answer again."""
    tokens = reading.tokens[item.start : item.end]
    return all(any(same_word(word, token) for token in tokens) for word in answer.content)


def _is_candidate(reading: Reading, item: _Item, answer: Answer, question: Reading, *, leading: bool) -> bool:
    """Whether the item begins (``leading``) or ends with something of the answer's shape."""
    core = _core(reading, item)
    if not core:
        return False
    index = core[0] if leading else core[-1]
    token = reading.tokens[index]
    if leading and token.norm in _NO_CANDIDATE:
        return False
    match answer.shape:
        case "date":
            return any(item.start <= date.start < item.end for date in reading.dates)
        case "time":
            return any(item.start <= time.start < item.end for time in reading.times)
        case "number":
            numbers = [place for place in core if reading.tokens[place].value is not None]
            return bool(numbers) and (index in numbers or reading.tokens[numbers[-1]].value is not None)
        case "name":
            if not reading.is_cased:
                return len(core) <= 3 and not any(reading.tokens[place].norm in VERBS for place in core)
            return token.is_capital and token.norm not in OPENERS
        case _:
            short = len(core) <= 3 if leading else True
            is_known = any(same_word(word, token) for word in question.tokens if word.is_word and not word.is_stop)
            return (
                short
                and token.value is None
                and token.norm not in VERBS
                and not is_known
                and not any(
                    reading.tokens[place].norm in VERBS | _NO_CANDIDATE for place in core[: 3 if leading else 0]
                )
            )


def _is_whole_candidate(reading: Reading, item: _Item, answer: Answer, question: Reading) -> bool:
    """Whether the item holds nothing but a candidate."""
    core = _core(reading, item)
    if len(core) > 4 or any(reading.tokens[place].norm in VERBS for place in core):
        return False
    return _is_candidate(reading, item, answer, question, leading=True)


def _count_in_lines(reading: Reading, number: int, mention: Mention, answer: Answer, question: Reading) -> int:
    """Candidates each in a line, a question or a sentence of its own."""

    def is_fragment(sentence: Sentence) -> bool:
        return is_bare_candidate(reading, sentence.start, sentence.end, answer, question)

    sentences = reading.sentences
    if is_fragment(sentences[number]):
        first = last = number
        while last + 1 < len(sentences) and is_fragment(sentences[last + 1]):
            last += 1
        while first > 0 and is_fragment(sentences[first - 1]):
            first -= 1
        group = sentences[first : last + 1]
        different = {
            tuple(token.norm for token in reading.tokens[s.start : s.end] if token.is_word and not token.is_stop)
            for s in group
        }
        listed = any(s.terminator in ("?", "\n") or s.bulleted for s in group[:-1])
        if len(different) >= (2 if listed else 3):
            return len(different)
    openings = [
        sentence for sentence in sentences[number + 1 : number + 2] if reading.tokens[sentence.start].norm == "or"
    ]
    if any(is_fragment(Sentence(s.start + 1, s.end, s.terminator)) for s in openings):
        return 2
    return _count_guesses(reading, number, answer, question)


def _count_guesses(reading: Reading, number: int, answer: Answer, question: Reading) -> int:
    """Short guesses side by side, as in "it might be Paris; it might be London" in two sentences."""

    def text(sentence: Sentence) -> str:
        return " ".join(token.norm for token in reading.tokens[sentence.start : sentence.end])

    def is_guess(sentence: Sentence) -> bool:
        words = sum(token.is_word for token in reading.tokens[sentence.start : sentence.end])
        return words <= 8 and _MAYBE.search(text(sentence)) is not None

    if not is_guess(reading.sentences[number]):
        return 1
    others = [
        sentence
        for place, sentence in enumerate(reading.sentences)
        if place != number
        and is_guess(sentence)
        and any(True for _ in find_rivals(reading, sentence.start, sentence.end, answer, question))
    ]
    return 1 + len(others)
