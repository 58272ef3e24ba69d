"""Where a reply names an answer, in whatever wording: names, titles, phrases, numbers, dates and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from concept_forget.measures.answers import ROMAN_SINGLES, Answer, find_units
from concept_forget.measures.dates import TimeMention
from concept_forget.measures.reading import Reading
from concept_forget.measures.words import HONORIFICS, Token, same_word

LONG_ANSWER = 7  # needed words from which an answer counts as a sentence: then four fifths of them are enough
LONG_SHARE = 0.8
MOST_MENTIONS = 20
"""A model stuck in a loop says one thing a thousand times: so many of the first and of the last tell all."""
# "New York" is no mention of "York", nor "South Africa" of "Africa".
_MODIFIERS = frozenset(
    "new old north south east west northern southern eastern western upper lower great greater little san santa "
    "port fort saint st equatorial papua".split()
)
_NEGATING_PREFIXES = frozenset("non anti ex pseudo quasi un".split())
_HARMLESS_SUFFIXES = frozenset("based born bred style area like educated trained".split())
# "Edith Crane's brother" and "the brother of Edith Crane" are somebody else.
_RELATIVES = frozenset(
    "brother sister father mother parent son daughter child wife husband widow cousin uncle aunt niece nephew grandson "
    "granddaughter grandfather grandmother friend colleague student pupil assistant teacher mentor successor "
    "predecessor rival partner neighbour neighbor namesake".split()
)


@dataclass(frozen=True, slots=True)
class Mention:
    """The answer at tokens ``start`` to ``end``; ``share`` is how much of it is there."""

    start: int
    end: int
    share: float = 1.0


def find_mentions(answer: Answer, reading: Reading, taken: frozenset[str] = frozenset()) -> list[Mention]:
    """Every place where the reply names the whole answer, in order.

    Args:
        answer: From ``read_answer``.
        reading: The reply.
        taken: Folded words that mean another option and so are never a slip of the answer's.
    """
    match answer.shape:
        case "date":
            return [mention for mention in _find_days(answer, reading) if mention.share == 1]
        case "time":
            return [
                Mention(time.start, time.end) for time in reading.times if _same_time(answer.minutes, time)
            ] or list(_find_sequences(answer.content, answer, reading, taken))
        case "number":
            return list(_find_numbers(answer, reading))
        case _:
            return _find_phrases(answer, reading, taken)


def first_and_last(mentions: list[Mention]) -> list[Mention]:
    """The mentions that are judged: all, but of more than twice ``MOST_MENTIONS`` the first and the last."""
    return mentions if len(mentions) <= 2 * MOST_MENTIONS else mentions[:MOST_MENTIONS] + mentions[-MOST_MENTIONS:]


def find_part(answer: Answer, reading: Reading, taken: frozenset[str] = frozenset()) -> Mention | None:
    """The largest part of the answer that the reply names, when it does not name the whole."""
    if answer.shape == "date":
        return max(_find_days(answer, reading), key=lambda mention: mention.share, default=None)
    wanted = answer.needed or answer.content
    if len(wanted) < 2 or answer.shape in ("number", "time"):
        return None
    places = [
        next((index for index, token in enumerate(reading.tokens) if same_word(word, token, taken)), None)
        for word in wanted
    ]
    found = [place for place in places if place is not None]
    if not found:
        return None
    share = min(len(found) / len(wanted), 1 - 1 / (2 * len(wanted)))  # all words, but not as one answer: not whole
    return Mention(found[0], found[0] + 1, share)


def _find_days(answer: Answer, reading: Reading) -> Iterator[Mention]:
    for date in reading.dates:
        share = max(day.share_of(wanted) for day in date.readings for wanted in answer.days)
        if share:
            yield Mention(date.start, date.end, share)
    years = {day.year for day in answer.days if day.year is not None}
    dated = reading.dated
    for index, token in enumerate(reading.tokens):
        if token.value is not None and int(token.value) in years and index not in dated:
            yield Mention(index, index + 1, 1 / 3)


def _same_time(minutes: frozenset[int], time: TimeMention) -> bool:
    return not minutes.isdisjoint(time.minutes)


def _find_numbers(answer: Answer, reading: Reading) -> Iterator[Mention]:
    wanted = next(token for token in answer.content if token.value is not None)
    is_year = (
        answer.units <= {"year"} and wanted.value == int(wanted.value or 0) and 1000 <= (wanted.value or 0) <= 2100
    )
    for date in reading.dates:
        if is_year and any(day.year == wanted.value for day in date.readings):
            yield Mention(date.start, date.end)
    dated = reading.dated
    for index, token in enumerate(reading.tokens):
        if token.value != wanted.value or index in dated:
            continue
        before = reading.tokens[index - 1] if index else None
        after = reading.tokens[index + 1] if index + 1 < len(reading.tokens) else None
        if after is not None and reading.is_attached(index) and after.norm in ("s", ":"):  # the 1990s, 12:30
            continue
        if before is not None and before.norm == ":" and reading.is_attached(index - 1):
            continue
        if after is not None and after.norm == "-" and index + 2 < len(reading.tokens):
            after = reading.tokens[index + 2]  # "a 12-mile walk"
        units = find_units([neighbour for neighbour in (before, after) if neighbour is not None and neighbour.is_word])
        if not units or not answer.units or units & answer.units:
            yield Mention(index, index + 1)


def _find_phrases(answer: Answer, reading: Reading, taken: frozenset[str]) -> list[Mention]:
    found = [*_find_sequences(answer.content, answer, reading, taken), *_find_joined(answer, reading)]
    if not found and answer.shape == "name":
        found = list(_find_inverted(answer, reading, taken))
    if not found and len(answer.content) > 1:
        found = list(_find_scattered(answer, reading, taken))
    if not found and answer.needed and len(answer.needed) < len(answer.content):
        found = list(_find_news(answer, reading, taken))
    if not found and len(answer.needed) >= LONG_ANSWER:
        found = list(_find_most(answer, reading, taken))
    return sorted(set(found), key=lambda mention: (mention.start, mention.end))


def _find_sequences(
    content: Sequence[Token], answer: Answer, reading: Reading, taken: frozenset[str]
) -> Iterator[Mention]:
    """The words in order, with nothing between them but function words, a hyphen, or a middle name."""
    for start in range(len(reading.tokens)):
        end = _follow(content, answer, reading, start, taken)
        if end is not None and not _is_other_entity(answer, reading, start, end):
            yield Mention(start, end)


def _follow(
    content: Sequence[Token], answer: Answer, reading: Reading, start: int, taken: frozenset[str]
) -> int | None:
    tokens, index, extras = reading.tokens, start, 2 if answer.is_person else 0
    for position, word in enumerate(content):
        while True:
            if index >= len(tokens):
                return None
            token = tokens[index]
            if same_word(word, token, taken) or (position > 0 and _is_same_roman(word, token)):
                break
            is_last = position == len(content) - 1
            if answer.is_person and not is_last and _is_initial_of(word, token):
                break
            if position == 0 or token.norm in ("?", "!", ";"):
                return None
            joined_by = tokens[index - 1].norm
            if token.is_word and not token.is_stop:
                is_middle = extras > 0 and (len(token.norm) == 1 or reading.looks_like_name(index))
                is_listed = answer.shape == "words" and joined_by in ("and", "or", ",")
                if not is_middle and not is_listed:
                    return None
                extras -= 1
            elif token.norm == "," and answer.parts == 1 and answer.is_person:
                return None
            index += 1
        index += 1
    return index


def _is_same_roman(word: Token, token: Token) -> bool:
    return token.text in ROMAN_SINGLES and not word.keys.isdisjoint(ROMAN_SINGLES[token.text])


def _is_initial_of(word: Token, token: Token) -> bool:
    return word.is_capital and len(token.norm) == 1 and token.is_capital and word.norm[:1] == token.norm


def _is_other_entity(answer: Answer, reading: Reading, start: int, end: int) -> bool:
    """Whether the words stand inside the name of something else: "New York", "Winston-Salem", "non-smoker"."""
    tokens = reading.tokens
    own = {token.norm for token in answer.words}
    if start > 0:
        before = tokens[start - 1]
        if answer.shape == "name" and before.norm in _MODIFIERS - own and before.is_capital:
            return True
        if before.norm in ("of", "to") and start > 1 and tokens[start - 2].norm in _RELATIVES:
            return True
        if before.norm == "-" and start > 1 and reading.is_attached(start - 1) and reading.is_attached(start - 2):
            head = tokens[start - 2]
            if head.norm in _NEGATING_PREFIXES or (head.is_capital and head.norm not in own):
                return True
        if answer.initials and reading.looks_like_name(start - 1) and before.norm not in HONORIFICS:
            given = before.norm if len(before.norm) > 1 else before.norm[0]
            if given[0] not in answer.initials:
                return True
    if tokens[end - 1].is_possessive and any(token.norm in _RELATIVES for token in tokens[end : end + 2]):
        return True
    if end + 1 < len(tokens) and tokens[end].norm == "-" and reading.is_attached(end - 1) and reading.is_attached(end):
        tail = tokens[end + 1]
        return tail.is_capital and tail.norm not in own | _HARMLESS_SUFFIXES and reading.is_cased
    return False


def _find_joined(answer: Answer, reading: Reading) -> Iterator[Mention]:
    """The answer written together or apart: "blueheron", "Ash-water"."""
    wholes = {"".join(token.norm for token in tokens) for tokens in (answer.words, answer.content)}
    wholes = {whole for whole in wholes if len(whole) >= 5}
    for start in range(len(reading.tokens)):
        joined, end = "", start
        while end < len(reading.tokens) and end - start < 7:
            token = reading.tokens[end]
            if token.is_word:
                joined += token.norm
            elif token.norm != "-" or end == start:
                break
            end += 1
            if joined in wholes and token.is_word:
                if not _is_other_entity(answer, reading, start, end):
                    yield Mention(start, end)
                break


def _find_inverted(answer: Answer, reading: Reading, taken: frozenset[str]) -> Iterator[Mention]:
    """Surname first, or last where the answer has it first: "Kestrel, Mira", "Yun-Hwa Hsiao"."""
    *given, surname = answer.content
    if not given or not all(token.is_capital for token in answer.content):
        return
    for index in range(len(reading.tokens) - 2):
        if same_word(surname, reading.tokens[index], taken) and reading.tokens[index + 1].norm == ",":
            end = _follow(given, answer, reading, index + 2, taken)
            if end is not None:
                yield Mention(index, end)
    if answer.is_person:
        family, *rest = answer.content
        yield from _find_sequences((*rest, family), answer, reading, taken)


def _find_scattered(answer: Answer, reading: Reading, taken: frozenset[str]) -> Iterator[Mention]:
    """The answer's pieces in any order, close together in one sentence; a name stays in one piece."""
    pieces = _pieces(answer)
    if len(pieces) < 2:
        return
    room = len(answer.content) + (6 if answer.parts > 1 else 2)
    for sentence in reading.sentences:
        places = []
        for piece in pieces:
            ends = [
                (start, end)
                for start in range(sentence.start, sentence.end)
                if (end := _follow(piece, answer, reading, start, taken)) is not None
                and not _is_other_entity(answer, reading, start, end)
            ]
            places.append(ends)
        if not all(places):
            continue
        for start, _ in places[0]:
            chosen = [min(ends, key=lambda span: abs(span[0] - start)) for ends in places]
            first, last = min(span[0] for span in chosen), max(span[1] for span in chosen)
            between = [token for token in reading.tokens[first:last] if token.is_word and not token.is_stop]
            if len(between) <= room:
                yield Mention(first, last)
                break


def _pieces(answer: Answer) -> list[list[Token]]:
    """Runs of capitalised words with nothing between them, and every other word by itself."""
    pieces: list[list[Token]] = []
    previous: Token | None = None
    starts = {token.start for token in answer.content}
    for token in answer.words:
        if token.start in starts:
            is_name = token.is_capital and token.value is None
            if is_name and previous is not None and previous.is_capital and previous.value is None:
                pieces[-1].append(token)
            else:
                pieces.append([token])
        previous = token if token.start in starts else None
    return pieces


def _find_news(answer: Answer, reading: Reading, taken: frozenset[str]) -> Iterator[Mention]:
    """Only the words that the question did not hold, and no word beside them that makes it another thing."""
    words = [token for token in reading.tokens if token.is_word and not token.is_stop]
    if all(len(token.norm) < 3 and token.value is None for token in answer.needed):
        if [token.norm for token in words] == [token.norm for token in answer.needed]:
            first = reading.tokens.index(words[0])
            yield Mention(first, first + 1)
        return
    own = {token.norm for token in answer.words}
    for mention in _find_sequences(answer.needed, answer, reading, taken):
        neighbours = (mention.start - 1, mention.end)
        if not any(
            0 <= place < len(reading.tokens)
            and reading.is_cased
            and reading.looks_like_name(place)
            and reading.tokens[place].norm not in own
            for place in neighbours
        ):
            yield mention


def _find_most(answer: Answer, reading: Reading, taken: frozenset[str]) -> Iterator[Mention]:
    """A sentence for an answer: most of its words, in any order."""
    places = [
        place
        for word in answer.needed
        if (place := next((i for i, token in enumerate(reading.tokens) if same_word(word, token, taken)), None))
        is not None
    ]
    if len(places) >= LONG_SHARE * len(answer.needed):
        yield Mention(min(places), max(places) + 1)
