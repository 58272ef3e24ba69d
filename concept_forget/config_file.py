"""Reads a config file: YAML with line numbers, ``${vars.name}``, ``--set``, and errors that name file, line and key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from concept_forget.config import Config, Origin
from concept_forget.config.arms import ArmError, Place, arms_of
from concept_forget.config_mistakes import explain_first
from concept_forget.credentials import holds_key
from concept_forget.errors import ConfigError, first_line
from concept_forget.yaml_file import KeyPath, dotted, read_value, read_yaml

_INTERPOLATION = re.compile(r"\$\{([^}]*)\}?")
_VARIABLE = re.compile(r"vars\.[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 100
"""Characters of a `--set` up to which a message repeats it."""
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
    given = dict(_apply_override(values, lines, override) for override in overrides)
    origin = Origin(file, {dotted(path): line for path, line in lines.items()}, given)
    values = _interpolate(values, origin)
    _refuse_keys(values, origin)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise _explain(error, values, origin) from error
    if config.compare is not None:
        _check_arms(config, origin)
    return config.read_from(origin)


def _apply_override(values: dict[str, Any], lines: dict[KeyPath, int], override: str) -> tuple[str, str]:
    """Set what a ``--set`` says, and give its key and how it stood on the command line."""
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
    shown = f"{name}=…" if len(override) > _LONGEST or holds_key(override) else override
    return dotted(tuple(keys)), f"--set {shown}"


def _interpolate(values: dict[str, Any], origin: Origin) -> dict[str, Any]:
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
                    **_place(path, origin),
                    remedy="only ${vars.NAME} is filled in; secrets are read from the environment by themselves",
                )
            if known.get(name.removeprefix("vars.")) is None:
                raise ConfigError(
                    f"`{match.group(0)}` has no value",
                    **_place(path, origin),
                    remedy=f"give it one: `--set {name}=VALUE`, or set it under `vars:`" + _hint(known, name, values),
                )
    if not found:
        return values
    try:
        resolved: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(values), resolve=True)  # type: ignore[assignment]  # of a mapping, it is one
    except OmegaConfBaseException as error:
        raise ConfigError(
            f"what stands under `vars:` cannot be filled in: {first_line(error)}",
            **{**_place(("vars",), origin), "key": error.full_key or "vars"},
            remedy="let no value lead back to itself",
        ) from error
    return resolved


def _refuse_keys(values: Mapping[str, Any], origin: Origin) -> None:
    """Refuse an address with a key in it: a run keeps its config."""
    for path, text in _strings(values):
        if holds_key(text):
            raise ConfigError(
                "the address holds a key, which would be written into the run",
                **_place(path, origin),
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


def _explain(error: ValidationError, values: Mapping[str, Any], origin: Origin) -> ConfigError:
    """Turn pydantic's first error into one message with file, line, key and remedy."""
    found = explain_first(error, values)
    place = _place(found.path or _named_path(found.message, origin), origin)
    key = dotted(found.path) or None
    also = [text for name, text in origin.given.items() if key and name.startswith(f"{key}.") and key in origin.lines]
    if also:  # what the file says by itself may be right
        place["line"] = None
    with_set = f" (with `{also[-1]}`)" if also else ""
    return ConfigError(found.problem + with_set, **{**place, "key": key}, remedy=found.remedy)


def _named_path(message: str, origin: Origin) -> KeyPath:
    """The first key that a message about the whole config names and that stands in the file."""
    for name in _KEY.findall(message):
        if name in origin.lines or name in origin.given:
            return tuple(name.split("."))
    return ()


def _check_arms(config: Config, origin: Origin) -> None:
    """Refuse a comparison of which an arm makes no config, naming the arm, the setting and its line."""
    try:
        for _ in arms_of(config):
            pass
    except ArmError as error:
        problem, place, remedy = error.problem, error.place, error.remedy
        if error.refusal is not None:
            found = explain_first(error.refusal.error, error.refusal.values)
            place = _setting_at(found.path, error.refusal.places) or place
            problem = f"{dotted(found.path)}: {found.problem}" if found.path else found.problem
            remedy = found.remedy
        raise ConfigError(problem, **_place(place, origin), remedy=remedy) from error


def _setting_at(path: KeyPath, places: Mapping[Place, Place]) -> Place | None:
    """Where the last setting stands that lies at or around a path of the config, or within it."""
    found = [place for own, place in places.items() if path and (path[: len(own)] == own or own[: len(path)] == path)]
    return found[-1] if found else None


def _place(path: KeyPath, origin: Origin) -> dict[str, Any]:
    """What an error says of where it was caused: file and line, or the ``--set``; and the key."""
    key = dotted(path)
    file, line = origin.find(key)
    return {"file": file, "line": line, "key": key or None}
