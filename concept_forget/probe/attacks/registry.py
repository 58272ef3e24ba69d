"""The registry of attacks: name, family, source, and the form of question that each one takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from concept_forget.config.verbs import WHITE_BOX_NAMES
from concept_forget.engines.protocol import Request
from concept_forget.errors import ConfigError
from concept_forget.probe.attacks.change import Change, Material
from concept_forget.probe.attacks.scene import Scene
from concept_forget.records import Example

RequestFunction = Callable[[Example, Random, Scene], list[Request]]
FollowFunction = Callable[[Request, str], Request]
"""From a request and the reply to it to what is asked in the next turn."""
ChangeFunction = Callable[[Material], Change | str]
"""What is done to each model's weights before it is asked; or why that cannot be done."""

QUICK, ALL = "quick", "all"


@dataclass(frozen=True, slots=True)
class Attack:
    """A registered attack.

    ``takes`` is the family of questions in the probe that it puts to a model; ``summary`` the first line of its
    docstring; ``source`` the paper it comes from.

    ``grader`` is what such rows are graded by, whatever the config says of others; empty: what the config says.
    ``first_line`` says that replies end with their first line, whatever a model writes behind it.
    ``quick`` says whether it belongs to those that every run can afford. ``expects`` holds what a right reply to the
    first, second, … request says where that is not the row's answer: such replies count together, and only if all of
    them are right. ``room`` is how many times ``probe.max_new_tokens`` a reply may take. ``follow`` gives the second
    turn of a conversation, whose reply is then the one that counts. ``change`` says what becomes of the weights before
    anything is asked, where the attack is on these.

    ``sampled`` says that replies are drawn as ``probe.sampling`` says, whatever is said of others. ``searched`` says
    that its requests are not asked but searched from: the best of the prompts that come of it counts. ``file`` is the
    user's file that it stands in; empty: it is built in.
    """

    name: str
    family: str
    takes: str
    source: str
    summary: str
    requests: RequestFunction
    grader: str = ""
    first_line: bool = False
    quick: bool = False
    expects: tuple[str, ...] = ()
    room: int = 1
    follow: FollowFunction | None = None
    change: ChangeFunction | None = None
    sampled: bool = False
    searched: bool = False
    file: str = ""


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str,
    *,
    family: str,
    takes: str,
    source: str,
    grader: str = "",
    first_line: bool = False,
    quick: bool = False,
    expects: tuple[str, ...] = (),
    room: int = 1,
    follow: FollowFunction | None = None,
    sampled: bool = False,
    searched: bool = False,
) -> Callable[[RequestFunction], RequestFunction]:
    """Register an attack under the name that configs and tables use.

    Args:
        name: Its name.
        family: What it has in common with others: ``asking``, ``persuading``, …
        takes: The family of questions that it puts to a model.
        source: The paper.
        grader: What these rows are graded by, where it is not the config's to say.
        first_line: Replies end with their first line.
        quick: It is among those that ``quick`` names.
        expects: What right replies to its requests say, one by one, where that is not the row's answer.
        room: How many times the tokens of other replies its replies may take.
        follow: Gives the second turn, where the attack is a conversation.
        sampled: Replies are drawn as ``probe.sampling`` says.
        searched: Its requests are searched from.

    Raises:
        ValueError: The name is taken, the function has no docstring, or the replies of a conversation are sampled.
    """

    def register(function: RequestFunction) -> RequestFunction:
        if follow is not None and (sampled or searched):
            raise ValueError(f"the attack {name!r} has a second turn: it is neither sampled nor searched from")
        _add(
            Attack(
                name=name,
                family=family,
                takes=takes,
                source=source,
                summary=_summary(name, function.__doc__),
                requests=function,
                grader=grader,
                first_line=first_line,
                quick=quick,
                expects=expects,
                room=room,
                follow=follow,
                sampled=sampled,
                searched=searched,
            )
        )
        return function

    return register


def weight_attack(name: str, *, source: str, requests: RequestFunction) -> Callable[[ChangeFunction], ChangeFunction]:
    """Register an attack of the family ``weights``, which asks plain questions of models that it has changed.

    Args:
        name: Its name.
        source: The paper.
        requests: How the changed model is asked.

    Raises:
        ValueError: The name is taken, or the function has no docstring.
    """

    def register(function: ChangeFunction) -> ChangeFunction:
        summary = _summary(name, function.__doc__)
        _add(Attack(name, "weights", "direct", source, summary, requests, change=function))
        return function

    return register


def _add(new: Attack) -> None:
    if new.name in ATTACKS:
        raise ValueError(f"an attack called {new.name!r} is registered already")
    ATTACKS[new.name] = new


def _summary(name: str, docstring: str | None) -> str:
    if not docstring:
        raise ValueError(f"the attack {name!r} needs a docstring: its first line is shown in tables")
    return docstring.strip().splitlines()[0]


def attacks_named(names: str | Sequence[str]) -> list[Attack]:
    """The attacks that a config asks for, in the order of registration; white-box ones are not among them.

    Args:
        names: One or several of: names of attacks, names of families, ``quick``, ``all``.

    Raises:
        ConfigError: There is no attack or family of that name, or none is named.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    families = dict.fromkeys(known.family for known in ATTACKS.values())
    for name in wanted:
        if name not in (QUICK, ALL, *families, *ATTACKS, *WHITE_BOX_NAMES):
            family, *white_box = WHITE_BOX_NAMES
            raise ConfigError(
                f"there is no attack called {name!r}",
                key="probe.attacks",
                remedy=f"use `quick`, `all`, a family ({', '.join([*families, family])}) or names from: "
                f"{', '.join([*ATTACKS, *white_box])}",
            )
    if not wanted:
        raise ConfigError("no attack is named", key="probe.attacks", remedy="use `quick`, or name at least one")
    return [
        known
        for known in ATTACKS.values()
        if ALL in wanted or known.name in wanted or known.family in wanted or (known.quick and QUICK in wanted)
    ]
