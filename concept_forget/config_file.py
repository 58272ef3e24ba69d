"""Reads a config file: YAML with line numbers, ``${vars.name}``, ``--set``, and errors that name file, line and key."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from concept_forget.concept import Concept
from concept_forget.config import Config, Origin
from concept_forget.config.arms import ArmError, Place, arms_of
from concept_forget.credentials import holds_key, names_key
from concept_forget.errors import ConfigError, did_you_mean, first_line
from concept_forget.yaml_file import KeyPath, dotted, read_value, read_yaml

_INTERPOLATION = re.compile(r"\$\{([^}]*)\}?")
_VARIABLE = re.compile(r"vars\.[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"`([a-z_]+(?:\.[a-z_]+)*)[:`]")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read, override, interpolate and check a config file.

    Args:
        path: A YAML file.
        overrides: ``section.key=value`` strings, each value read as YAML; they win over the file.

    ``concept``, ``target`` and ``reference`` may be plain text: the name, or the model. Relative paths in the file
    are relative to the current folder, as on a command line.

    Raises:
        ConfigError: Anything that is wrong with it; the message names file, line, key and remedy.
    """
    file = Path(path)
    values, lines = read_yaml(file)
    for section, key in (("concept", "name"), ("target", "model"), ("reference", "model")):
        if isinstance(values.get(section), str):
            values[section] = {key: values[section]}
    for override in overrides:
        _apply_override(values, lines, override)
    values = _interpolate(values, lines, file)
    _refuse_keys(values, lines, file)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise _explain(error, values, lines, file) from error
    if config.compare is not None:
        _check_arms(config, lines, file)
    return config.read_from(Origin(file, {dotted(path): line for path, line in lines.items()}))


def _apply_override(values: dict[str, Any], lines: dict[KeyPath, int], override: str) -> None:
    name, equals, text = override.partition("=")
    keys: list[str | int] = [int(part) if part.isdecimal() else part for part in name.strip().split(".")]
    if not equals or any(part == "" for part in keys):
        raise ConfigError(f"cannot read `--set {override}`", key=name or None, remedy="write `--set section.key=value`")
    try:
        value = read_value(text, "--set")
    except ConfigError as error:
        raise ConfigError(
            f"the value of `--set {override}` cannot be used: {error.problem}",
            key=name,
            remedy="quote it for the shell" if "not YAML" in error.problem else error.remedy,
        ) from error
    place: Any = values
    for depth, key in enumerate(keys[:-1]):
        if isinstance(place, list) and isinstance(key, int) and key < len(place):
            place = place[key]
            continue
        if isinstance(place, dict) and place.get(str(key)) is None:
            place[str(key)] = {}
        if not isinstance(place, dict):
            raise ConfigError(
                f"`--set {override}`: {dotted(tuple(keys[:depth]))} holds no keys",
                key=name,
                remedy="name an existing section",
            )
        place = place[str(key)]
    last = keys[-1]
    if isinstance(place, list) and isinstance(last, int) and last < len(place):
        place[last] = value
    elif isinstance(place, dict):
        place[str(last)] = value
    else:
        raise ConfigError(
            f"`--set {override}`: {dotted(tuple(keys[:-1]))} holds no keys",
            key=name,
            remedy="name an existing section",
        )
    for path in [path for path in lines if path[: len(keys)] == tuple(keys)]:
        del lines[path]  # it no longer stands in the file
    lines[tuple(keys)] = 0


def _interpolate(values: dict[str, Any], lines: Mapping[KeyPath, int], file: Path) -> dict[str, Any]:
    """Fill in ``${vars.name}`` and refuse every other interpolation, the environment's above all."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    variables = values.get("vars")
    known = variables if isinstance(variables, dict) else {}
    found = False
    for path, text in _strings(values):
        for match in _INTERPOLATION.finditer(text):
            found = True
            name = match.group(1).strip()
            if not _VARIABLE.fullmatch(name):
                raise ConfigError(
                    f"`{match.group(0)}` is not allowed",
                    file=file,
                    line=_line(path, lines),
                    key=dotted(path),
                    remedy="only ${vars.NAME} is filled in; secrets are read from the environment by themselves",
                )
            if known.get(name.removeprefix("vars.")) is None:
                raise ConfigError(
                    f"`{match.group(0)}` has no value",
                    file=file,
                    line=_line(path, lines),
                    key=dotted(path),
                    remedy=f"give it one: `--set {name}=VALUE`, or set it under `vars:`" + _hint(known, name, values),
                )
    if not found:
        return values
    try:
        resolved: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(values), resolve=True)  # type: ignore[assignment]  # of a mapping, it is one
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"what stands under `vars:` cannot be filled in: {first_line(error)}",
            file=file,
            line=_line(("vars",), lines),
            key=error.full_key or "vars",
            remedy="let no value lead back to itself",
        ) from error
    return resolved


def _refuse_keys(values: Mapping[str, Any], lines: Mapping[KeyPath, int], file: Path) -> None:
    """Refuse an address with a key in it: a run keeps its config."""
    for path, text in _strings(values):
        if holds_key(text):
            raise ConfigError(
                "the address holds a key, which would be written into the run",
                file=file,
                line=_line(path, lines),
                key=dotted(path),
                remedy="leave it out; the environment holds it, as in AWS_SECRET_ACCESS_KEY or OPENAI_API_KEY",
            )


def _hint(known: Mapping[str, Any], name: str, values: Mapping[str, Any]) -> str:
    """A config may say in ``vars.NAME_help`` where the value is to be had."""
    help_text = known.get(name.removeprefix("vars.") + "_help")
    return f"; {help_text}" if isinstance(help_text, str) else ""


def _strings(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))


def _explain(
    error: ValidationError, values: Mapping[str, Any], lines: Mapping[KeyPath, int], file: Path
) -> ConfigError:
    """Turn pydantic's first error into one message with file, line, key and remedy."""
    first = error.errors()[0]
    path = _existing_path(first["loc"], values)
    line = _line(path or _named_path(first["msg"], lines), lines)
    problem, remedy = first["msg"].removeprefix("Value error, "), "see the comments of `concept-forget init`"
    if first["type"] == "extra_forbidden":
        key = str(path[-1])
        problem = f"unknown key {key!r}"
        choices = _keys_at(path[:-1])
        remedy = did_you_mean(key, choices) or f"the keys here are: {', '.join(sorted(choices))}"
    elif first["type"] == "missing":
        problem, remedy = "this key is missing", "add it"
        if first["loc"] == ("concepts",):
            path = ("concept",)
            remedy = "add `concept:` with at least a `name:`"
    else:
        found = first["input"]
        if not _may_hold_key(path, found) and not isinstance(found, (dict, list, tuple, BaseModel)):
            problem += f"; found {found!r}"
        remedy = _bounds(path[:-1] if "[key]" in first["loc"] else path) or remedy
    more = error.error_count() - 1
    if more:
        problem += f" (and {more} more {'mistake' if more == 1 else 'mistakes'} after this one)"
    return ConfigError(problem, file=file, line=line, key=dotted(path) or None, remedy=remedy)


def _may_hold_key(path: KeyPath, found: object) -> bool:
    """Whether what was found may be a key: by its name, or since an address is refused that has more than a place."""
    named = any(isinstance(part, str) and names_key(part) for part in path)
    address = path[-1:] == ("base_url",) and any(mark in str(found) for mark in "@?#")
    return named or address or holds_key(str(found))


def _named_path(message: str, lines: Mapping[KeyPath, int]) -> KeyPath:
    """The first key that a message about the whole config names and that stands in the file."""
    for name in _KEY.findall(message):
        path = tuple(name.split("."))
        if path in lines:
            return path
    return ()


def _check_arms(config: Config, lines: Mapping[KeyPath, int], file: Path) -> None:
    """Refuse a comparison of which an arm makes no config, naming the arm, the setting and its line."""
    try:
        for _ in arms_of(config):
            pass
    except ArmError as error:
        problem, place, remedy = error.problem, error.place, error.remedy
        if error.refusal is not None:
            explained = _explain(error.refusal.error, error.refusal.values, {}, file)
            path = _existing_path(error.refusal.error.errors()[0]["loc"], error.refusal.values)
            place = _setting_at(path, error.refusal.places) or place
            problem = f"{explained.key}: {explained.problem}" if explained.key else explained.problem
            remedy = explained.remedy
        raise ConfigError(problem, file=file, line=_line(place, lines), key=dotted(place), remedy=remedy) from error


def _setting_at(path: KeyPath, places: Mapping[Place, Place]) -> Place | None:
    """Where the last setting stands that lies at or around a path of the config, or within it."""
    found = [place for own, place in places.items() if path and (path[: len(own)] == own or own[: len(path)] == path)]
    return found[-1] if found else None


def _existing_path(location: tuple[int | str, ...], values: Mapping[str, Any]) -> KeyPath:
    """The part of pydantic's location that stands in the file, without the names of union members."""
    if location[:2] == ("concepts", 0) and "concept" in values:
        location = ("concept", *location[2:])
    path: list[str | int] = []
    place: Any = values
    for index, part in enumerate(location):
        if part == "[key]":  # of a mapping it is the key itself that is refused
            continue
        if isinstance(place, dict) and isinstance(part, str) and (part in place or index == len(location) - 1):
            path.append(part)
            place = place.get(part)
        elif isinstance(place, list) and isinstance(part, int) and part < len(place):
            path.append(part)
            place = place[part]
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


def _bounds(path: KeyPath) -> str:
    """What a field says about itself: the remedy for a value out of bounds or of the wrong type."""
    model = _model_at(path[:-1]) if path else None
    field = _fields(model).get(str(path[-1])) if model else None
    return f"expected: {field.description}" if field and field.description else ""


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of the key, or of the nearest section around it that stands in the file."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]] or None
    return None
