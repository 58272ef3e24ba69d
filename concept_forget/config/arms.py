"""From a config that compares to the configs of its runs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from concept_forget.config.whole import Config
from concept_forget.errors import ConfigError
from concept_forget.records import json_ready

OWN = ("compare", "output", "vars")
"""What no arm can set: where its run goes, and what is filled in before there are arms."""

Place = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Arm:
    """One run of a comparison. ``name`` and ``repetition`` are the folders that its output goes to."""

    name: str
    repetition: str
    config: Config


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why the settings of an arm make no config: what pydantic says of which values, and where each setting stands."""

    error: ValidationError
    values: Mapping[str, Any]
    places: Mapping[Place, Place]  # a setting's path in the config → its keys in the file


class ArmError(ConfigError):
    """An arm's settings make no config.

    Args:
        problem: What was found.
        remedy: What to do about it.
        place: The keys under which the setting, or else the arm, stands in the file.
        refusal: What pydantic says, where it was pydantic that refused.
    """

    def __init__(self, problem: str, remedy: str, place: Place, refusal: Refusal | None = None) -> None:
        self.place, self.refusal = place, refusal
        super().__init__(problem, key=".".join(map(str, place)), remedy=remedy)


def arms_of(config: Config) -> Iterator[Arm]:
    """Every run of a comparison: repetition by repetition, every arm.

    Raises:
        ArmError: An arm's settings make no config.
    """
    compare = config.compare
    assert compare is not None
    whole = json_ready(config.model_dump(exclude_unset=True, exclude={"compare"}))
    for number, (repetition, shared) in enumerate(_repetitions(config).items()):
        section: Place = ("compare", "worlds" if compare.worlds else "over", number)
        for name, settings in compare.arms.items():
            values = copy.deepcopy(whole)
            places: dict[Place, Place] = {}
            arm: Place = ("compare", "arms", name)
            for key, value in shared.items():
                place = section if compare.worlds else (*section, key)
                places[_assign(values, key, value, place)] = place
            for key, value in settings.items():
                places[_assign(values, key, value, (*arm, key))] = (*arm, key)
            values["output"] = config.output / name / repetition
            try:
                made = Config.model_validate(values)
            except ValidationError as error:
                problem = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise ArmError(problem, "mend this arm", arm, Refusal(error, values, places)) from error
            yield Arm(name, repetition, made.read_where(config))


def _repetitions(config: Config) -> dict[str, Mapping[str, Any]]:
    """Folder name → the settings that all arms share there."""
    compare = config.compare
    assert compare is not None
    if compare.over:
        return {str(number): settings for number, settings in enumerate(compare.over, start=1)}
    repetitions: dict[str, Mapping[str, Any]] = {}
    for world in compare.worlds:
        settings = {"target.sandbox.world": world}
        reference = config.reference.sandbox if config.reference is not None else None
        if reference is not None and reference.world is not None:
            settings["reference.sandbox.world"] = world
        repetitions[f"world-{world}"] = settings
    return repetitions or {"1": {}}


def _assign(values: dict[str, Any], dotted: str, value: Any, place: Place) -> Place:
    """Set one key, as ``--set`` does, and tell its path."""
    path: Place = tuple(int(part) if part.isdecimal() else part for part in dotted.strip().split("."))
    if "" in path or path[0] in OWN:
        problem = "this is no key" if "" in path else f"`{path[0]}` is not for an arm to set"
        raise ArmError(problem, "write `section.key: value`, as in `unlearn.method: npo`", place)
    inside: Any = values
    for depth, part in enumerate(path):
        key: str | int | None = None
        if isinstance(inside, list) and isinstance(part, int) and part < len(inside):
            key = part
        elif isinstance(inside, dict):
            key = str(part)
        if key is None:
            held = ".".join(map(str, path[:depth]))
            raise ArmError(f"`{held}` holds no key {part!r}", "name an existing section", place)
        if depth == len(path) - 1:
            inside[key] = copy.deepcopy(value)
        elif isinstance(inside, dict) and inside.get(str(key)) is None:
            inside[key] = {}
        inside = inside[key]
    return path
