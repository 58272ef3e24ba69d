"""The registry of export targets: name, source of the format, and the function that lays the sets out in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from concept_forget.errors import ConfigError, did_you_mean
from concept_forget.exports.finished import FinishedSets
from concept_forget.exports.layout import Layout

LayOut = Callable[[FinishedSets, Layout], None]


@dataclass(frozen=True, slots=True)
class Target:
    """A registered target.

    ``summary`` is the first line of the function's docstring, ``source`` the repository that defines the format.
    ``all_columns`` says that the files hold every column of the sets, so that the card has to explain them.
    """

    name: str
    summary: str
    source: str
    all_columns: bool
    lay_out: LayOut


TARGETS: dict[str, Target] = {}


def target(name: str, *, source: str, all_columns: bool = False) -> Callable[[LayOut], LayOut]:
    """Register a target under the name that the command line uses.

    Args:
        name: Its name.
        source: The repository, and the files in it, that say what the layout is.
        all_columns: Whether the files hold every column of the sets.

    Raises:
        ValueError: The name is taken, or the function has no docstring.
    """

    def register(function: LayOut) -> LayOut:
        if name in TARGETS:
            raise ValueError(f"a target called {name!r} is registered already")
        if not function.__doc__:
            raise ValueError(f"the target {name!r} needs a docstring: its first line is shown in the help")
        summary = function.__doc__.strip().splitlines()[0].removesuffix(".")
        TARGETS[name] = Target(name, summary, source, all_columns, function)
        return function

    return register


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        ConfigError: There is none; the message names the one that is spelt most like it.
    """
    if name in TARGETS:
        return TARGETS[name]
    meant = did_you_mean(name.casefold().replace("_", "-"), TARGETS)
    remedy = f"{meant} the targets are {', '.join(TARGETS)}".lstrip()
    raise ConfigError(f"nothing is exported to {name!r}", key="--to", remedy=remedy)
