"""What pydantic refuses of a config in words: where the first mistake stands, what it is, and what to write instead."""

from __future__ import annotations

import datetime
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.credentials import holds_key, names_key
from concept_forget.errors import did_you_mean
from concept_forget.yaml_file import KeyPath

_Detail = Mapping[str, Any]
"""What pydantic says of one value: ``type``, ``loc``, ``msg`` and ``input``."""
_NUMBERS = re.compile(r"\d+(?:\s*[-–:,]\s*\d+)+")
_LONGEST = 120
"""Characters of a list that is shown as it is to be written."""
_WANTED = {
    "tuple_type": "a list is wanted",
    "dict_type": "keys with values are wanted",
    "model_type": "keys with values are wanted",
    "path_type": "a path is wanted",
    "string_type": "text is wanted",
    "bool_type": "true or false is wanted",
    "bool_parsing": "true or false is wanted",
}
_ABSENT: dict[KeyPath, str] = {
    ("concept",): "add `concept:` with at least a `name:`",
    ("target",): "add it, as in `target: path/to/model` or `target: {sandbox: {world: 0}}`",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something in a config that cannot be.

    ``path`` is where it stands, as far as it is in the values; ``message`` is what pydantic says of it.
    """

    path: KeyPath
    problem: str
    remedy: str
    message: str


def explain_first(error: ValidationError, values: Mapping[str, Any]) -> Mistake:
    """The first mistake in words, and how many there are besides.

    Args:
        error: What pydantic refused.
        values: What it was given.
    """
    first, *others = _group(error, values)
    closest = max(first, key=lambda detail: len(_existing_path(detail, values)))
    path = _existing_path(closest, values)
    if closest["type"] == "missing" and path == ("concepts",):
        path = ("concept",)
    problem, remedy = _tell(closest, path, or_list=any(detail["type"] == "tuple_type" for detail in first))
    if others:
        problem += f" (and {len(others)} more {'mistake' if len(others) == 1 else 'mistakes'} after this one)"
    return Mistake(path, problem, remedy, closest["msg"])


def _group(error: ValidationError, values: Mapping[str, Any]) -> list[list[_Detail]]:
    """What pydantic says, mistake by mistake: of one value it tells for every type that the value could have had."""
    groups: dict[KeyPath, list[_Detail]] = {}
    details: list[_Detail] = [dict(detail) for detail in error.errors()]
    for detail in details:
        groups.setdefault(_existing_path(detail, values, to_union=True), []).append(detail)
    return [
        found
        for path, found in groups.items()
        if not (  # too short only because its entries are refused
            found[0]["type"] == "too_short"
            and any(len(other) > len(path) and other[: len(path)] == path for other in groups)
        )
    ]


def _tell(detail: _Detail, path: KeyPath, *, or_list: bool) -> tuple[str, str]:
    """Problem and remedy."""
    kind, found = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        choices = _keys_at(path[:-1])
        remedy = did_you_mean(str(path[-1]), choices) or f"the keys here are: {', '.join(sorted(choices))}"
        return f"unknown key {str(path[-1])!r}", remedy
    expected = _expected(path[:-1] if "[key]" in detail["loc"] else path) or "see the comments of `concept-forget init`"
    if kind == "missing":
        if isinstance(detail["loc"][-1], int):
            return "an entry is missing", expected
        return "this key is missing", _ABSENT.get(path, "add it")
    secret = _may_hold_key(path, found)
    several = or_list and isinstance(found, str) and "," in found
    if kind == "tuple_type" or several:
        if secret:
            return "a list is wanted", "write a list"
        return f"a list is wanted; found {_name(found)}", _as_list(found, path)
    if kind == "string_type" and isinstance(found, (int, float, datetime.date)):
        expected = f"write it in quotes, as text; {expected}"
    if path in _ABSENT and found is None:
        return "nothing stands here", _ABSENT[path]
    problem = _WANTED.get(kind) or detail["msg"].removeprefix("Value error, ")
    if kind in ("too_short", "too_long"):
        problem = problem.replace("Tuple", "the list").replace("Dictionary", "it").replace(" after validation", "")
    problem += ", or a list" if or_list else ""
    named = _name(found)
    shown = kind in _WANTED or (not isinstance(found, (dict, list, tuple, BaseModel)) and named not in problem)
    if shown and not secret:
        problem += f"; found {named}"
    return problem, expected


def _may_hold_key(path: KeyPath, found: object) -> bool:
    """Whether what was found may be a key: by its name, or since an address is refused that has more than a place."""
    named = any(isinstance(part, str) and names_key(part) for part in path)
    address = path[-1:] == ("base_url",) and any(mark in str(found) for mark in "@?#")
    return named or address or holds_key(str(found))


def _name(found: Any) -> str:
    """A value as it is called in a message."""
    if found is None:
        return "nothing"
    if isinstance(found, (dict, BaseModel)):
        return "keys with values"
    return "a list" if isinstance(found, (list, tuple)) else repr(found)


def _as_list(found: Any, path: KeyPath) -> str:
    """The remedy that shows the list which a value was meant to be."""
    entries: Sequence[Any] = [found]
    if found is None:
        return "leave the key out, or write a list"
    if isinstance(found, str) and _NUMBERS.fullmatch(found.strip()):
        entries = [int(number) for number in re.findall(r"\d+", found)]
    elif isinstance(found, str):
        entries = [part.strip() for part in found.split(",") if part.strip()]
        entries = [{"name": part} for part in entries] if path == ("concepts",) else entries
    shown = yaml.safe_dump(entries, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6).strip()
    return f"write a list: {shown}" if len(shown) <= _LONGEST else "write a list, every entry behind a dash"


def _existing_path(detail: _Detail, values: Mapping[str, Any], *, to_union: bool = False) -> KeyPath:
    """The part of pydantic's location that stands in the file, without the names of union members.

    Args:
        detail: What pydantic says.
        values: What it was given.
        to_union: End where a value could have been of several types.
    """
    location = detail["loc"]
    if location[:2] == ("concepts", 0) and "concept" in values:
        location = ("concept", *location[2:])
    path: list[str | int] = []
    place: Any = values
    for index, part in enumerate(location):
        if part == "[key]":  # of a mapping it is the key itself that is refused
            continue
        absent = detail["type"] == "missing" and index == len(location) - 1
        if isinstance(place, dict) and isinstance(part, str) and (part in place or absent):
            path.append(part)
            place = place.get(part)
        elif isinstance(place, list) and isinstance(part, int) and part < len(place):
            path.append(part)
            place = place[part]
        elif to_union and isinstance(part, str):
            break
    return tuple(path)


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    """The pydantic model that describes the section at ``path``."""
    model: type[BaseModel] = Config
    if path[:1] == ("concept",):
        model, path = Concept, path[1:]
    for part in path:
        if isinstance(part, int):
            continue
        field = _fields(model).get(part)
        inner = _models_in(field.annotation) if field else []
        if not inner:
            return None
        model = inner[0]
    return model


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by the keys that a file names them with."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]


def _keys_at(path: KeyPath) -> list[str]:
    model = _model_at(path)
    keys = list(_fields(model)) if model else []
    return ["concept", *keys] if not path else keys


def _expected(path: KeyPath) -> str:
    """What a field says about itself: the remedy for a value out of bounds or of the wrong type."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    model = _model_at(path[:-1]) if path else None
    field = _fields(model).get(str(path[-1])) if model else None
    return f"expected: {field.description}" if field and field.description else ""
