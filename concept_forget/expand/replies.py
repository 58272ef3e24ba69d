"""From a model's reply to items: JSON of the asked form, or lines whose fields are parted by ``|``.

A reply is data from outside. Whatever it holds, each part of it becomes an item or a fault; nothing here raises.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from string import ascii_letters
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from concept_forget.concept import normalise_text
from concept_forget.engines.prompts import Returns

Item = tuple[str, ...]
"""The fields of one item, in the order in which its form names them; a field that was left out is empty."""

EMPTY = "empty"
CUT_OFF = "the reply was cut off"
NOT_JSON = "the reply is not JSON of the asked form"
WRONG_FIELDS = "the item has too few or too many fields"

_BULLET = re.compile(r"^(?:[-*•–]\s+|\(?\d{1,2}[.)]\s+)")
_FENCE = "```"
_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "'": "'", "‘": "’"}
_MAX_FAULT_CHARACTERS = 500


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Facets(_Reply):
    """What is known about a concept, by name."""

    facets: list[str]


class StatedFact(_Reply):
    """A fact: its short answer and a sentence or two that state it."""

    answer: str
    sentence: str
    second_sentence: str = ""


class Facts(_Reply):
    """Facts of one facet."""

    facts: list[StatedFact]


class Questions(_Reply):
    """Questions about one fact."""

    questions: list[str]


class Paraphrases(_Reply):
    """The same question in other words."""

    paraphrases: list[str]


class Refusals(_Reply):
    """A reply that declines the question."""

    refusals: list[str]


class Neighbour(_Reply):
    """Something beside the concept."""

    name: str
    kind: str


class Neighbours(_Reply):
    """Things beside the concept."""

    neighbours: list[Neighbour]


class Scenarios(_Reply):
    """Situations in which the answer of a fact is needed."""

    scenarios: list[str]


class TwoHop(_Reply):
    """Questions that reach the subject of a fact through another fact."""

    questions: list[str]


class Counterfactuals(_Reply):
    """Wrong answers of the right answer's type."""

    counterfactuals: list[str]


class Passages(_Reply):
    """Texts about a concept."""

    passages: list[str]


class Translation(_Reply):
    """A question in another language, and its answer as one says it there."""

    question: str
    answer: str


class Translations(_Reply):
    """Questions in another language."""

    translations: list[Translation]


@dataclass(frozen=True, slots=True)
class Form:
    """What the reply to one kind of prompt holds.

    Args:
        schema: The JSON object that is asked for; its one field is the list of items.
        item: What an item consists of; None: a single text. A line gives the fields in this order.
    """

    schema: type[BaseModel]
    item: type[BaseModel] | None = None

    @property
    def key(self) -> str:
        """The one field of the schema."""
        return next(iter(self.schema.model_fields))


FORMS = {
    "facets": Form(Facets),
    "facts": Form(Facts, StatedFact),
    "questions": Form(Questions),
    "paraphrases": Form(Paraphrases),
    "refusals": Form(Refusals),
    "neighbours": Form(Neighbours, Neighbour),
    "scenarios": Form(Scenarios),
    "two_hop": Form(TwoHop),
    "counterfactuals": Form(Counterfactuals),
    "passages": Form(Passages),
    "translations": Form(Translations, Translation),
}
"""The form of every prompt whose reply holds items, by the prompt's name."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A part of a reply that is no item, and why."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A reply, all of it: what it holds and what could not be read."""

    items: tuple[Item, ...]
    faults: tuple[Fault, ...]


def parse_reply(form: Form, returns: Returns, text: str, *, cut_off: bool = False) -> Parsed:
    """Read a reply.

    Args:
        form: What was asked for.
        returns: How the prompt asks for it: JSON, lines, or a single line.
        text: The reply, whatever it is.
        cut_off: Whether the reply ran into its limit; its last item is then not whole.
    """
    if not clean(text):
        return Parsed((), (Fault(EMPTY, ""),))
    if returns == "json":
        return _parse_json(form, text, cut_off=cut_off)
    return _parse_lines(form, text, single=returns == "line", cut_off=cut_off)


def clean(text: str) -> str:
    """One line of text that every file and tokenizer takes: no control characters, no lone surrogates, NFC."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return normalise_text("".join(" " if unicodedata.category(c) == "Cc" else c for c in whole))


def _parse_lines(form: Form, text: str, *, single: bool, cut_off: bool) -> Parsed:
    lines = [line for line in map(_strip_decoration, text.splitlines()) if line]
    items: list[Item] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, start=1):
        item = _fields_of(form, line)
        if cut_off and number == len(lines):
            faults.append(_fault(CUT_OFF, line))
        elif single and number > 1:
            faults.append(_fault("more lines than the one asked for", line))
        elif item is None:
            faults.append(_fault(WRONG_FIELDS, line))
        else:
            items.append(item)
    if not lines:
        faults.append(Fault(EMPTY, ""))
    return Parsed(tuple(items), tuple(faults))


def _fields_of(form: Form, line: str) -> Item | None:
    if form.item is None:
        return (line,)
    parts = [part.strip() for part in line.split("|")]
    required = sum(field.is_required() for field in form.item.model_fields.values())
    if not required <= len(parts) <= len(form.item.model_fields):
        return None
    return (*parts, *[""] * (len(form.item.model_fields) - len(parts)))


def _strip_decoration(line: str) -> str:
    """A line without its bullet or number, and without quotation marks around the whole of it."""
    plain = _BULLET.sub("", clean(line))
    if len(plain) > 1 and _QUOTES.get(plain[0]) == plain[-1]:
        plain = plain[1:-1].strip()
    return plain


def _parse_json(form: Form, text: str, *, cut_off: bool) -> Parsed:
    listed = _load_list(form, text)
    if listed is None:
        return Parsed((), (_fault(CUT_OFF if cut_off else NOT_JSON, text),))
    items: list[Item] = []
    faults: list[Fault] = []
    for value in listed:
        item = _json_item(form, value)
        if item is None:
            faults.append(_fault(WRONG_FIELDS, _dump(value)))
        else:
            items.append(item)
    if not listed:
        faults.append(Fault(EMPTY, clean(text)[:_MAX_FAULT_CHARACTERS]))
    return Parsed(tuple(items), tuple(faults))


def _load_list(form: Form, text: str) -> list[Any] | None:
    """The list of items in the first JSON object that has it, whatever stands around the object."""
    for candidate in _candidates(text):
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get(form.key), list):
            return list(value[form.key])
    return None


def _candidates(text: str) -> Iterator[str]:
    plain = text.strip()
    yield plain
    if plain.startswith(_FENCE) and plain.endswith(_FENCE):
        yield plain[len(_FENCE) : -len(_FENCE)].lstrip(ascii_letters)
    first, last = plain.find("{"), plain.rfind("}")
    if 0 <= first < last:
        yield plain[first : last + 1]


def _json_item(form: Form, value: object) -> Item | None:
    if form.item is None:
        return (clean(value),) if isinstance(value, str) else None
    try:
        fields = form.item.model_validate(value).model_dump()
    except ValidationError:
        return None
    return tuple(clean(fields[name]) for name in form.item.model_fields)


def _dump(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return "(an item that cannot be shown)"


def _fault(reason: str, text: str) -> Fault:
    return Fault(reason, clean(text[: 2 * _MAX_FAULT_CHARACTERS])[:_MAX_FAULT_CHARACTERS])
