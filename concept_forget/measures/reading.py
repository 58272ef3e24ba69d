"""A reply read once: its tokens, sentences and dates, as the rest of the answer grader looks at them."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from concept_forget.measures.dates import DateMention, TimeMention, find_dates, find_times
from concept_forget.measures.words import HONORIFICS, Token, tokenize

_ABBREVIATED = HONORIFICS | frozenset("st mt no vs approx ca cf eg ie etc jr sr inc ltd co vol fig".split())


@dataclass(frozen=True, slots=True)
class Sentence:
    """Tokens ``start`` to ``end``, without a list item's bullet and without the closing mark ``terminator``."""

    start: int
    end: int
    terminator: str  # one of . ? ! \n, or empty at the end of the text
    bulleted: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text holds."""

    tokens: tuple[Token, ...]
    sentences: tuple[Sentence, ...]
    dates: tuple[DateMention, ...]
    times: tuple[TimeMention, ...]
    is_cased: bool  # whether capitals mean anything: both cases occur

    @property
    def dated(self) -> frozenset[int]:
        """The tokens that belong to a date."""
        return frozenset(index for date in self.dates for index in range(date.start, date.end))

    def sentence_at(self, index: int) -> int:
        """The number of the sentence that holds token ``index``, or the next one where none does."""
        number = bisect.bisect_right(self.sentences, index, key=lambda sentence: sentence.end)
        return min(number, len(self.sentences) - 1)

    def looks_like_name(self, index: int) -> bool:
        """Whether a token is written like a name; in a text of one case every content word is."""
        token = self.tokens[index]
        return token.is_word and not token.is_stop and (token.is_capital or not self.is_cased)

    def is_attached(self, index: int) -> bool:
        """Whether no space stands between tokens ``index`` and ``index + 1``."""
        return index + 1 < len(self.tokens) and self.tokens[index].end == self.tokens[index + 1].start


@functools.lru_cache(maxsize=2048)
def read(text: str) -> Reading:
    """Read a text. The last ones read are kept: a question is asked of several models."""
    tokens = tuple(tokenize(text))
    letters = [letter for token in tokens for letter in token.text if letter.isalpha()]
    is_cased = any(letter.isupper() for letter in letters) and any(letter.islower() for letter in letters)
    return Reading(
        tokens=tokens,
        sentences=tuple(_split_sentences(tokens, is_cased)),
        dates=tuple(find_dates(tokens)),
        times=tuple(find_times(tokens)),
        is_cased=is_cased,
    )


def _split_sentences(tokens: Sequence[Token], is_cased: bool) -> Iterator[Sentence]:
    start, bulleted, line_start = 0, False, True
    index = 0
    while index < len(tokens):
        if line_start:
            length = _bullet_length(tokens, index)
            if length:
                start = index = index + length
                bulleted = True
            line_start = False
            continue
        norm = tokens[index].norm
        if norm in ("?", "!", "\n") or (norm == "." and _is_full_stop(tokens, index, start, is_cased)):
            if any(token.is_word for token in tokens[start:index]):
                yield Sentence(start, index, norm, bulleted)
            start, bulleted = index + 1, False
            line_start = norm == "\n"
        index += 1
    if any(token.is_word for token in tokens[start:]):
        yield Sentence(start, len(tokens), "", bulleted)


def _bullet_length(tokens: Sequence[Token], index: int) -> int:
    """How many tokens the bullet of a list item takes at the beginning of a line: "-", "2.", "(b)"."""
    norms = [token.norm for token in tokens[index : index + 4]]
    if len(norms) > 1 and norms[0] in ("-", "+", ">"):
        return 1
    opening = 1 if norms[:1] == ["("] else 0
    if len(norms) < opening + 3 or norms[opening + 1] not in (".", ")", ":"):
        return 0
    label = tokens[index + opening]
    is_label = len(label.norm) == 1 or (label.value is not None and label.value < 100)
    return opening + 2 if label.is_word and is_label and norms[opening + 2] != "\n" else 0


def _is_full_stop(tokens: Sequence[Token], index: int, start: int, is_cased: bool) -> bool:
    before = tokens[index - 1] if index > start else None
    after = tokens[index + 1] if index + 1 < len(tokens) else None
    if after is None or before is None or not before.is_word:
        return True
    is_initial = len(before.text) == 1 and before.is_capital and before.norm != "i"
    if (before.norm in _ABBREVIATED or is_initial) and after.is_word and index - 1 > start:
        return False
    if before.norm in HONORIFICS or (is_initial and after.is_capital):
        return False
    return not (is_cased and after.text[:1].islower())
