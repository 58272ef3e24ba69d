"""Dates and times of day in a text, in the notations people use, with every reading an ambiguous one allows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from concept_forget.measures.words import Token

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)(?: \.)?"
)
_DAY = r"(?P<day>\d{1,2})(?:th)?"
_YEAR = r"(?P<year>\d{4}|' ?\d{2})(?!th)"
_GAP = r"(?: ?[,-])? "
_WRITTEN = [
    re.compile(rf"(?<![\w.]){pattern}(?![\w])")
    for pattern in (
        rf"{_YEAR}{_GAP}{_MONTH}{_GAP}(?:the )?{_DAY}",
        rf"{_DAY}(?: day)?(?: of| -)? {_MONTH}(?:{_GAP}(?:of |in )?{_YEAR})?",
        rf"{_MONTH}{_GAP}(?:the )?{_DAY}(?:{_GAP}(?:of |in )?{_YEAR})?",
        rf"{_MONTH}{_GAP}(?:of |in )?{_YEAR}",
        r"(?P<month>\d{1,2}) / (?P<year>\d{4})",
    )
]
_TIME = re.compile(
    r"(?<![\w.])(?P<hour>\d{1,2})(?:(?: : | ?\. ?)(?P<minute>\d{2}))?"
    r"(?: (?P<half>am|pm|in the morning|in the afternoon|in the evening|at night|o ?clock))?(?! ?[\d:])(?!\w)"
)


@dataclass(frozen=True, slots=True)
class Day:
    """A date, some parts of it perhaps unsaid."""

    year: int | None
    month: int | None
    day: int | None

    def share_of(self, wanted: Day) -> float:
        """The share of ``wanted``'s parts that this date gives; 0 where one contradicts."""
        pairs = [
            (mine, theirs)
            for mine, theirs in zip(
                (self.year, self.month, self.day), (wanted.year, wanted.month, wanted.day), strict=True
            )
            if theirs is not None
        ]
        if any(mine is not None and mine != theirs for mine, theirs in pairs):
            return 0.0
        return sum(mine is not None for mine, _ in pairs) / len(pairs)


@dataclass(frozen=True, slots=True)
class DateMention:
    """A date at tokens ``start`` to ``end``; ``readings`` holds both orders of "05/11/1991"."""

    start: int
    end: int
    readings: frozenset[Day]


@dataclass(frozen=True, slots=True)
class TimeMention:
    """A time of day at tokens ``start`` to ``end``, in minutes; without am or pm both halves of the day count."""

    start: int
    end: int
    minutes: frozenset[int]


def find_dates(tokens: Sequence[Token]) -> list[DateMention]:
    """Dates with at least two of day, month and year, in order, none overlapping another."""
    found = [
        DateMention(index, index + 1, readings)
        for index, token in enumerate(tokens)
        if "\n" not in token.norm and (readings := _read_numeric(token.norm))
    ]
    taken = {mention.start for mention in found}
    text, owners = _render(tokens)
    for pattern in _WRITTEN:
        for match in pattern.finditer(text):
            start, end = owners[match.start()], owners[match.end() - 1] + 1
            readings = _read_written(match)
            if readings and taken.isdisjoint(range(start, end)):
                found.append(DateMention(start, end, readings))
                taken.update(range(start, end))
    return sorted(found, key=lambda mention: mention.start)


def find_times(tokens: Sequence[Token]) -> list[TimeMention]:
    """Times with minutes, or with am, pm or o'clock."""
    text, owners = _render(tokens)
    found = []
    for match in _TIME.finditer(text):
        hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"] or ""
        if hour > 24 or minute > 59 or not (match["minute"] or half):
            continue
        base = hour % 12 * 60 + minute
        afternoon = half == "pm" or half.endswith(("afternoon", "evening", "night")) or hour > 12
        morning = half == "am" or half.endswith("morning")
        minutes = {base + 720} if afternoon else {base} if morning else {base, base + 720}
        found.append(TimeMention(owners[match.start()], owners[match.end() - 1] + 1, frozenset(minutes)))
    return found


def _render(tokens: Sequence[Token]) -> tuple[str, list[int]]:
    """The tokens' normal forms in one string, and for each of its characters the token it comes from."""
    parts, owners = [], []
    for index, token in enumerate(tokens):
        norm = token.norm.replace("\n", "|")
        parts.append(norm)
        owners.extend([index] * (len(norm) + 1))
    return " ".join(parts), owners


def _read_numeric(norm: str) -> frozenset[Day]:
    match = re.fullmatch(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})", norm)
    if match is None:
        return frozenset()
    first, second, third = match.groups()
    if len(first) > 2:
        return frozenset(_valid([(int(first), int(second), int(third))]))
    orders = [(first, second), (second, first)]
    return frozenset(_valid((year, int(month), int(day)) for day, month in orders for year in _read_year(third)))


def _read_written(match: re.Match[str]) -> frozenset[Day]:
    groups = match.groupdict()
    month = int(groups["month"]) if groups["month"].isdecimal() else _MONTHS.index(groups["month"][:3]) + 1
    day = int(groups["day"]) if groups.get("day") else None
    years: list[int | None] = [*_read_year(groups["year"])] if groups.get("year") else [None]
    return frozenset(_valid((year, month, day) for year in years))


def _read_year(text: str) -> list[int]:
    """Two digits may mean a year of any recent century."""
    digits = text.strip("' ")
    return [int(digits)] if len(digits) > 2 else [century + int(digits) for century in (1700, 1800, 1900, 2000)]


def _valid(parts: Iterator[tuple[int | None, int, int | None]] | list[tuple[int, int, int]]) -> Iterator[Day]:
    for year, month, day in parts:
        if 1 <= month <= 12 and (day is None or 1 <= day <= 31):
            yield Day(year, month, day)
