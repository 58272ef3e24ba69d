"""A text as tokens that compare equal across case, diacritics, spellings, notations of numbers, and typing slips."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

from concept_forget.measures.numerals import read_numeral, read_roman
from concept_forget.measures.spelling import americanise, is_slip, sound
from concept_forget.text import drop_unseen, fold

STOP_WORDS = frozenset(
    "a an the of in on at by to for from with and or is are was were be been it its this that these those as into "
    "he she they his her their him them i my me we our you your which who whom whose what where when how do does did "
    "has have had would there called named".split()
)
HONORIFICS = frozenset(
    "mr mrs ms miss dr doctor prof professor sir dame lord lady king queen prince princess president saint".split()
)

_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "ħ": "h", "ŋ": "n"}
)
_UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"}
_PUNCTUATION = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "`": "", "*": "", "_": " ", "“": '"', "”": '"', "«": '"', "»": '"'}
    | dict.fromkeys("‐‑‒–−", "-")
    | {"—": " - ", "―": " - ", "•": "-", "·": "-", "#": " ", "…": "...", "⁄": "/"}
)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(
    rf"""
    (?P<date>(?<![\w.])\d{{1,4}}([-/.])\d{{1,2}}\2\d{{1,4}}(?!\d|[-/.]\d))   # 14.03.1932: one token, read in dates.py
  | (?P<grouped>\d{{1,3}}(?:[, ]\d{{3}})+(?:\.\d+)?(?![\d,]) | \d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d))
  | (?P<ordinal>\d+(?:st|nd|rd|th)(?!\w))
  | (?P<comma>(?<![\d,])\d+,\d{{1,2}}(?![\d,]))
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<initials>(?:[^\W\d_]\.){{2,}}|(?<!\w)[A-Z]\.(?:\s[A-Z]\.)+)
  | (?P<letter>[{_CJK}])
  | (?P<word>[^\W_{_CJK}][^\W_{_CJK}]*(?:'[^\W\d_{_CJK}]+)*)
  | (?P<newline>\n)
  | (?P<mark>[^\w\s])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PLAIN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_CLITICS = re.compile(r"^(.*?)(n't|'s|'m|'re|'ve|'ll|'d|')$")
_NEGATED = {"cannot": "can", "cant": "can", "wont": "will"} | {
    f"{verb}nt": verb for verb in "do does did is was are were has have had would could should must".split()
}
_ABBREVIATIONS = {
    "st": "saint",
    "mt": "mount",
    "dr": "doctor",
    "prof": "professor",
    "km": "kilometer",
    "kms": "kilometer",
    "cm": "centimeter",
    "mm": "millimeter",
    "m": "meter",
    "kg": "kilogram",
    "kgs": "kilogram",
    "kilo": "kilogram",
    "g": "gram",
    "lb": "pound",
    "lbs": "pound",
    "ft": "foot",
    "feet": "foot",
    "mi": "mile",
    "hr": "hour",
    "hrs": "hour",
    "min": "minute",
    "mins": "minute",
    "usd": "dollar",
    "eur": "euro",
    "gbp": "pound",
    "pct": "percent",
    "percentage": "percent",
    "$": "dollar",
    "€": "euro",
    "£": "pound",
    "%": "percent",
    "°": "degree",
    "&": "and",
    "vs": "versus",
}
UNITS = frozenset(
    "kilometer centimeter millimeter meter mile foot inch yard kilogram gram pound ounce ton tonne dollar euro yen "
    "franc percent degree second minute hour day week month year decade century liter gallon watt volt".split()
)
_CURRENCIES = frozenset({"dollar", "euro", "pound", "yen", "franc"})
_ATTACHED_SCALES = {"k": 10**3, "bn": 10**9, "tn": 10**12, "mn": 10**6}
_CURRENCY_SCALES = _ATTACHED_SCALES | {"m": 10**6, "b": 10**9}
_AFTER_PRONOUN = frozenset("of another who that might may can could would should must".split())


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a mark. ``keys`` holds every form under which a word compares; a mark has none."""

    text: str
    start: int  # offsets into the cleaned text
    end: int
    norm: str  # the folded word, the number in digits ("14th" for ordinals), or the mark itself
    keys: frozenset[str] = frozenset()
    value: Decimal | None = None  # a cardinal's value
    is_possessive: bool = False

    @property
    def is_word(self) -> bool:
        """Whether this is a word or a number."""
        return bool(self.keys)

    @property
    def is_capital(self) -> bool:
        """Whether it is written like a name."""
        return self.text[:1].isupper()

    @property
    def is_stop(self) -> bool:
        """Whether it is a function word."""
        return self.norm in STOP_WORDS


def clean(text: str) -> str:
    """NFKC, with one kind of apostrophe, quote and dash, and without Markdown's emphasis and what shows nothing."""
    plain = unicodedata.normalize("NFKC", drop_unseen(text).translate(_PUNCTUATION)).translate(_PUNCTUATION)
    return re.sub(r"\bper cent\b", "percent", plain, flags=re.IGNORECASE)


@functools.lru_cache(maxsize=16384)
def fold_word(word: str) -> str:
    """Case-folded, without diacritics and apostrophes."""
    decomposed = unicodedata.normalize("NFKD", word.casefold().translate(_LETTERS))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter) and letter != "'")


def tokenize(text: str) -> list[Token]:
    """The words, numbers, marks and line ends of ``clean(text)``; a number of several words is one token.

    A contracted "not" becomes a token of its own, a possessive "'s" none at all.
    """
    return _merge_numbers(_split(clean(text)))


def plain_words(text: str) -> list[str]:
    """The words of a text, folded and without its marks; what they mean is not looked at, which makes it quick.

    Scripts written without spaces are taken letter by letter.
    """
    return _PLAIN.findall(fold(text))


def same_word(answer: Token, found: Token, taken: frozenset[str] = frozenset()) -> bool:
    """Whether ``found`` is the answer's word, allowing other spellings and one slip in a word of seven letters.

    Args:
        answer: A token of the expected answer. If it is not a name, a plural counts too.
        found: A token of the reply.
        taken: Folded words that mean something else (another option): never taken for a slip.
    """
    if not answer.is_word or not found.is_word:
        return False
    if answer.value is not None or found.value is not None:
        return not answer.keys.isdisjoint(found.keys)
    if not answer.keys.isdisjoint(found.keys):
        return True
    if not answer.is_capital and plural_key(answer) == plural_key(found):
        return True
    if found.norm in taken:
        return False
    if answer.is_capital and min(len(answer.norm), len(found.norm)) >= 5 and sound(answer.norm) == sound(found.norm):
        return True
    return any(is_slip(key, found.norm) for key in answer.keys)


def plural_key(token: Token) -> str:
    """The word without a plural ending."""
    word = americanise(_ABBREVIATIONS.get(token.norm, token.norm))
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and re.search(r"(s|x|z|ch|sh)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _split(text: str) -> list[Token]:
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind, raw = match.lastgroup or "", match.group()
        start, end = match.span()
        if kind == "word":
            tokens.extend(_split_word(raw, start, end))
        elif kind in ("grouped", "number", "comma"):
            digits = re.sub(r"[, ]", "", raw) if kind == "grouped" else raw.replace(",", ".")
            digits = digits.replace(".", "") if digits.count(".") > 1 else digits
            sign = -1 if re.search(r"(^|[\s(])-$|\bminus $", text[max(0, start - 6) : start], re.IGNORECASE) else 1
            tokens.append(_number(sign * Decimal(digits), raw, start, end))
        elif kind == "ordinal":
            norm = f"{int(raw[:-2])}th"
            tokens.append(Token(raw, start, end, norm, frozenset({norm})))
        elif kind == "initials":
            norm = fold_word(re.sub(r"[.\s]", "", raw))
            tokens.append(Token(raw, start, end, norm, frozenset({norm})))
        elif kind in ("date", "letter"):
            tokens.append(Token(raw, start, end, raw, frozenset({raw})))
        elif raw in "$€£%°&":
            norm = _ABBREVIATIONS[raw]
            tokens.append(Token(raw, start, end, norm, frozenset({norm})))
        else:
            tokens.append(Token(raw, start, end, raw))
    return tokens


def _split_word(raw: str, start: int, end: int) -> list[Token]:
    folded = raw.casefold()
    if folded.replace("'", "") in _NEGATED:
        verb = _NEGATED[folded.replace("'", "")]
        return [_word(verb, start, end), _word("not", start, end)]
    clitic = _CLITICS.match(folded)
    if clitic is None or not clitic[1]:
        return [_word(raw, start, end)]
    if clitic[2] == "n't":
        verb = {"ca": "can", "wo": "will", "sha": "shall"}.get(clitic[1], clitic[1])
        return [_word(verb, start, end), _word("not", start, end)]
    head = _word(raw[: len(clitic[1])], start, start + len(clitic[1]), is_possessive=clitic[2] in ("'s", "'"))
    if clitic[2] in ("'m", "'re") or (clitic[2] == "'s" and head.is_stop):
        return [head, _word("is", start, end)]
    return [head]


def _word(raw: str, start: int, end: int, *, is_possessive: bool = False) -> Token:
    norm = fold_word(raw)
    lowered = raw.casefold()
    keys = {norm, americanise(norm)}
    if any(letter in _UMLAUTS for letter in lowered):
        keys.add(fold_word("".join(_UMLAUTS.get(letter, letter) for letter in lowered)))
    if norm in _ABBREVIATIONS:
        keys.add(_ABBREVIATIONS[norm])
    roman = read_roman(raw)
    if roman is not None and len(raw) > 1:
        keys |= {f"#{roman}", f"{roman}th"}
    return Token(raw, start, end, norm, frozenset(keys), is_possessive=is_possessive)


def _number(value: Decimal, raw: str, start: int, end: int) -> Token:
    norm = format(value.normalize(), "f")
    return Token(raw, start, end, norm, frozenset({f"#{norm}"}), value)


def _merge_numbers(tokens: list[Token]) -> list[Token]:
    merged: list[Token] = []
    norms = [token.norm for token in tokens]
    index = 0
    while index < len(tokens):
        numeral = read_numeral(norms, index)
        if numeral is None or (norms[index] == "one" and _is_pronoun(norms, index)):
            merged.append(tokens[index])
            index += 1
            continue
        length = numeral.length
        first, last = tokens[index], tokens[index + length - 1]
        raw = " ".join(token.text for token in tokens[index : index + length])
        value = numeral.value
        if first.value is not None and length == 1:
            scale, extra = _attached_scale(tokens, index)
            value, length = value * scale, length + extra
            last = tokens[index + length - 1]
        number = _number(value, raw, first.start, last.end)
        if numeral.ordinal:
            norm = f"{int(value)}th"
            number = Token(raw, first.start, last.end, norm, frozenset({norm}))
        if length == 1 and first.value is None:  # "second", "one": still the word as well
            number = Token(raw, first.start, last.end, number.norm, number.keys | first.keys, number.value)
        merged.append(number)
        index += length
    return merged


def _is_pronoun(norms: list[str], index: int) -> bool:
    before = norms[index - 1] if index else ""
    after = norms[index + 1] if index + 1 < len(norms) else ""
    return after in _AFTER_PRONOUN or before in ("no", "any", "some", "every", "the", "this", "that")


def _attached_scale(tokens: list[Token], index: int) -> tuple[int, int]:
    """A scale written right behind the digits ("10k", "$5m"), and how many tokens it takes."""
    if index + 1 >= len(tokens):
        return 1, 0
    suffix = tokens[index + 1]
    if suffix.start != tokens[index].end:
        return 1, 0
    before = tokens[index - 1].keys if index else frozenset()
    scales = _CURRENCY_SCALES if before & (_CURRENCIES | {"usd", "eur", "gbp"}) else _ATTACHED_SCALES
    return (scales[suffix.norm], 1) if suffix.norm in scales else (1, 0)
