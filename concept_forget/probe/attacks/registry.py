"""The registry of attacks: name, family, source, and the form of question that each one takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from concept_forget.engines.protocol import Request
from concept_forget.errors import ConfigError
from concept_forget.records import Example

RequestFunction = Callable[[Example, Random], list[Request]]


@dataclass(frozen=True, slots=True)
class Attack:
    """A registered attack.

    ``takes`` is the family of questions in the probe that it puts to a model; ``summary`` the first line of its
    docstring; ``source`` the paper it comes from; ``grader`` what such rows are graded by, whatever the config says of
    others; empty: what the config says.
    """

    name: str
    family: str
    takes: str
    source: str
    summary: str
    requests: RequestFunction
    grader: str = ""


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str, *, family: str, takes: str, source: str, grader: str = ""
) -> Callable[[RequestFunction], RequestFunction]:
    """Register a prompt attack under the name that configs and tables use.

    Args:
        name: Its name.
        family: What it has in common with others: ``asking``, …
        takes: The family of questions that it puts to a model.
        source: Paper and section.
        grader: What these rows are graded by, where it is not the config's to say.

    Raises:
        ValueError: The name is taken, or the function has no docstring.
    """

    def register(function: RequestFunction) -> RequestFunction:
        if name in ATTACKS:
            raise ValueError(f"an attack called {name!r} is registered already")
        if not function.__doc__:
            raise ValueError(f"the attack {name!r} needs a docstring: its first line is shown in tables")
        ATTACKS[name] = Attack(name, family, takes, source, function.__doc__.strip().splitlines()[0], function, grader)
        return function

    return register


def attacks_named(names: str | Sequence[str]) -> list[Attack]:
    """The attacks that a config asks for, in the order of registration.

    Args:
        names: Names, or ``quick``: every prompt attack.

    Raises:
        ConfigError: There is no attack of that name, or none is named.
    """
    if names == "quick":
        return list(ATTACKS.values())
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in ATTACKS:
            raise ConfigError(
                f"there is no attack called {name!r}",
                key="probe.attacks",
                remedy=f"use `quick` or names from: {', '.join(ATTACKS)}",
            )
    if not wanted:
        raise ConfigError("no attack is named", key="probe.attacks", remedy="use `quick`, or name at least one")
    return [known for name, known in ATTACKS.items() if name in wanted]
