"""Attacks of the user's own, from Python files that a config names.

Such a file is run as it stands, with all that the program may do: a config names it by its path on this machine, and
nothing fetches one. It stands alone, so that a hash of its text tells one from another: it may import what is installed
and nothing beside it.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from concept_forget.config import ProbeConfig
from concept_forget.config.verbs import WHITE_BOX_NAMES
from concept_forget.engines.protocol import Request
from concept_forget.errors import ConfigError, did_you_mean
from concept_forget.probe.attacks.registry import ALL, ATTACKS, QUICK, Attack, attacks_named
from concept_forget.probe.attacks.scene import Scene
from concept_forget.records import Example

KEY = "probe.attack_files"
_LOOK_AT = "look at this line of your file"

_LOADED: dict[tuple[str, str], tuple[Attack, ...]] = {}  # a file's path and hash → what it registered


def find_attacks(config: ProbeConfig) -> list[Attack]:
    """The attacks that a config asks for, its own files' among them.

    Afterwards ``ATTACKS`` holds what is built in and what these files register, and nothing of other files.

    Raises:
        ConfigError: A file cannot be used, or there is no attack or family of a name.
    """
    load_attack_files(config.attack_files)
    return attacks_named(config.attacks)


def load_attack_files(files: Sequence[Path]) -> None:
    """Run files, unless they have been run with this very text, and let ``ATTACKS`` hold what they register.

    Raises:
        ConfigError: A file is absent, fails, registers nothing or what is there already; file and line are named.
    """
    for name in [name for name, known in ATTACKS.items() if known.file]:
        del ATTACKS[name]
    own: dict[str, Attack] = {}
    for path in files:
        content = _read(path)
        key = str(path.resolve()), hashlib.sha256(content).hexdigest()
        if key not in _LOADED:
            _LOADED[key] = _run(path, content, key[1])
        for found in _LOADED[key]:
            if found.name in own:
                raise ConfigError(
                    f"the attack {found.name!r} is registered by {own[found.name].file} already",
                    file=path,
                    line=_line_of(found),
                    remedy="give it another name",
                )
            own[found.name] = found
    ATTACKS.update(own)


def attack_files_mark(files: Sequence[Path]) -> list[str]:
    """The hash of each file's text.

    Raises:
        ConfigError: A file cannot be read.
    """
    return [hashlib.sha256(_read(path)).hexdigest() for path in files]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the file {path} cannot be read: {error.strerror}", key=KEY, remedy="name a Python file on this machine"
        ) from error


def _run(path: Path, content: bytes, mark: str) -> tuple[Attack, ...]:
    """What a file registers; of one that fails nothing is kept."""
    module = ModuleType(f"concept_forget_attacks_{mark[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where a dataclass looks for its annotations
    before = dict(ATTACKS)
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
        found = [known for name, known in ATTACKS.items() if name not in before]
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the file cannot be run: {_told(error)}", file=path, line=_line(error, path), remedy=_LOOK_AT
        ) from error
    finally:
        ATTACKS.clear()
        ATTACKS.update(before)
    if not found:
        raise ConfigError(
            "the file registers no attack",
            file=path,
            remedy="put `@attack(NAME, family=…, takes=…, source=…)` from `concept_forget` on a function",
        )
    for known in found:
        _refuse(known, path, before)
    return tuple(_guarded(replace(known, file=str(path)), path) for known in found)


def _refuse(found: Attack, path: Path, built_in: dict[str, Attack]) -> None:
    """Refuse what could not be asked for, or would find nothing to ask or nobody to grade it."""
    families = {known.takes for known in built_in.values()}
    groups = {QUICK, ALL, *WHITE_BOX_NAMES, *(known.family for known in built_in.values())}
    problem = remedy = ""
    if found.name in groups:
        problem, remedy = f"{found.name!r} is what several attacks are called", "give it another name"
    elif found.takes not in families:
        problem = f"the attack {found.name!r} takes questions of the family {found.takes!r}, and there is none"
        remedy = did_you_mean(found.takes, families) or f"use one of: {', '.join(sorted(families))}"
    elif found.searched:
        problem, remedy = f"the attack {found.name!r} is searched from", "use `search`, or `sampled`"
    elif found.change is not None:
        problem, remedy = f"the attack {found.name!r} changes weights", "register with `@attack` what it asks"
    elif found.family in WHITE_BOX_NAMES:
        problem, remedy = f"the family {found.family!r} is of scores that ask nothing", "name another family"
    elif found.grader:
        from concept_forget.measures.graders import get_grader  # takes long to load

        try:
            get_grader(found.grader)
        except ConfigError as error:
            problem, remedy = f"the attack {found.name!r}: {error.problem}", error.remedy
    if problem:
        raise ConfigError(problem, file=path, line=_line_of(found), remedy=remedy)


def _guarded(found: Attack, path: Path) -> Attack:
    """The attack, whose faults are told as what they are: mistakes in a file of the user's."""
    make, follow = found.requests, found.follow

    @functools.wraps(make)
    def requests(question: Example, rng: Random, scene: Scene) -> list[Request]:
        try:
            made: Any = make(question, rng, scene)
        except Exception as error:  # a function of the user's may raise whatever it likes
            raise _failed(found, path, error) from error
        if not isinstance(made, (list, tuple)) or not all(isinstance(request, Request) for request in made):
            raise _no_request(found, path, made, "a list of `Request`")
        return list(made)

    def next_turn(request: Request, reply: str) -> Request:
        assert follow is not None
        try:
            made: Any = follow(request, reply)
        except Exception as error:  # as above
            raise _failed(found, path, error) from error
        if not isinstance(made, Request):
            raise _no_request(found, path, made, "a `Request`")
        return made

    return replace(found, requests=requests, follow=next_turn if follow is not None else None)


def _failed(found: Attack, path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"the attack {found.name!r} failed: {_told(error)}", file=path, line=_line(error, path), remedy=_LOOK_AT
    )


def _no_request(found: Attack, path: Path, made: object, wanted: str) -> ConfigError:
    return ConfigError(
        f"the attack {found.name!r} gave {made!r:.80}", file=path, line=_line_of(found), remedy=f"return {wanted}"
    )


def _line_of(found: Attack) -> int | None:
    code = getattr(inspect.unwrap(found.change or found.requests), "__code__", None)
    return code.co_firstlineno if code is not None else None


def _line(error: BaseException, path: Path) -> int | None:
    """The last line of the file that an error went through."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _told(error: BaseException) -> str:
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
