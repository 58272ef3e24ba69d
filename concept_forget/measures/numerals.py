"""English number words as numbers: "forty-eight", "nineteen ninety-one", "five million", "the twenty-first"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

_UNITS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
}
_TENS = {
    word: 10 * value
    for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
} | {"fourty": 40}
_SCALES = {"dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_IRREGULAR_ORDINALS = {
    "first": "one",
    "second": "two",
    "third": "three",
    "fifth": "five",
    "eighth": "eight",
    "ninth": "nine",
    "twelfth": "twelve",
}
_ROMAN = {"i": 1, "v": 5, "x": 10}


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number read from ``length`` tokens."""

    value: Decimal
    length: int
    ordinal: bool = False


def read_numeral(words: Sequence[str], start: int) -> Numeral | None:
    """The number that begins at ``words[start]``, as long as it can be made.

    Args:
        words: Folded tokens, marks among them; digits as plain decimals ("1000", "4.8"), ordinals as "14th".
        start: Where to begin.

    Returns:
        None where no number begins. A hyphen or an "and" belongs to the number only between two of its words.
    """
    first = _read_group(words, start)
    if first is None or first.ordinal:
        return first
    value, end = first.value, start + first.length
    year = _read_year_end(words, start, first)
    if year is not None:
        return year
    total = Decimal(0)
    while True:
        if end < len(words) and words[end] in _SCALES:
            total += value * _SCALES[words[end]]
            end += 1
            after = _skip_joint(words, end)
            following = _read_group(words, after) if _continues(words, after) else None
            if following is None:
                return Numeral(total, end - start)
            value, end = following.value, after + following.length
            if following.ordinal:
                return Numeral(total + value, end - start, ordinal=True)
            continue
        return Numeral(total + value, end - start)


def read_roman(text: str) -> int | None:
    """The value of an upper-case Roman numeral up to XXXIX ("VIII" → 8), or None."""
    if not text or set(text) - {"I", "V", "X"}:
        return None
    values = [_ROMAN[letter] for letter in text.lower()]
    total = sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
    return total if _to_roman(total) == text else None


def _to_roman(value: int) -> str:
    units = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"]
    return "X" * (value // 10) + units[value % 10] if 0 < value < 40 else ""


def _cardinal(word: str) -> str | None:
    """The cardinal behind an ordinal word: "eighteenth" → "eighteen"."""
    if word in _IRREGULAR_ORDINALS:
        return _IRREGULAR_ORDINALS[word]
    if word.endswith("ieth") and word[:-4] + "y" in _TENS:
        return word[:-4] + "y"
    stem = word[:-2] if word.endswith("th") else ""
    return stem if stem in _UNITS or stem in _SCALES or stem == "hundred" else None


def _digits(word: str) -> Numeral | None:
    if word[:1].isdecimal() and word[-2:] in ("st", "nd", "rd", "th") and word[:-2].isdecimal():
        return Numeral(Decimal(int(word[:-2])), 1, ordinal=True)
    if word and all(part.isdecimal() for part in word.split(".", 1)):
        return Numeral(Decimal(word), 1)
    return None


def _continues(words: Sequence[str], index: int) -> bool:
    """Digits never continue a number word: "two thousand 300" are two numbers."""
    return index < len(words) and not words[index][:1].isdecimal()


def _skip_joint(words: Sequence[str], index: int) -> int:
    return index + 1 if index < len(words) and words[index] in ("-", "and") else index


def _read_small(words: Sequence[str], index: int) -> Numeral | None:
    """A number under a hundred, in words."""
    if index >= len(words):
        return None
    word = words[index]
    if word in _UNITS:
        return Numeral(Decimal(_UNITS[word]), 1)
    ordinal = _cardinal(word)
    if ordinal in _UNITS or ordinal in _TENS:
        return Numeral(Decimal((_UNITS | _TENS)[ordinal]), 1, ordinal=True)
    if word not in _TENS:
        return None
    after = index + 1 + (index + 1 < len(words) and words[index + 1] == "-")
    if after < len(words):
        unit = words[after] if words[after] in _UNITS else _cardinal(words[after])
        if unit is not None and 0 < _UNITS.get(unit, 0) < 10:
            value = Decimal(_TENS[word] + _UNITS[unit])
            return Numeral(value, after - index + 1, ordinal=unit != words[after])
    return Numeral(Decimal(_TENS[word]), 1)


def _read_group(words: Sequence[str], index: int) -> Numeral | None:
    """A number under a thousand in words, or any number in digits, before its scale."""
    if index >= len(words):
        return None
    digits = _digits(words[index])
    if digits is not None:
        return digits
    if words[index] in _SCALES:  # "a thousand"
        return Numeral(Decimal(1), 0)
    small = Numeral(Decimal(1), 0) if words[index] == "hundred" else _read_small(words, index)
    if small is None or small.ordinal:
        return small
    end = index + small.length
    if end >= len(words) or words[end] not in ("hundred", "hundredth"):
        return small
    value = small.value * 100
    if words[end] == "hundredth":
        return Numeral(value, end + 1 - index, ordinal=True)
    after = _skip_joint(words, end + 1)
    rest = _read_small(words, after)
    if rest is None:
        return Numeral(value, end + 1 - index)
    return Numeral(value + rest.value, after + rest.length - index, rest.ordinal)


def _read_year_end(words: Sequence[str], start: int, first: Numeral) -> Numeral | None:
    """The second half of a year said in two: nineteen | ninety-one, twenty | oh five."""
    if not 11 <= first.value <= 20 or words[start][:1].isdecimal():
        return None
    after = start + first.length
    after += after < len(words) and words[after] == "-"
    if after + 1 < len(words) and words[after] in ("oh", "o"):
        unit = _read_small(words, after + 1)
        if unit is not None and unit.value < 10 and not unit.ordinal:
            return Numeral(first.value * 100 + unit.value, after + 1 + unit.length - start)
    rest = _read_small(words, after)
    if rest is None or rest.ordinal or rest.value < 10:
        return None
    return Numeral(first.value * 100 + rest.value, after + rest.length - start)
