"""Every error that concept_forget raises on purpose, each with the exit code it stands for.

ConceptForgetError                  exit 3   a fault: something broke that the user did not cause
├── UserError                       exit 2   the user's mistake; the message names the place and the remedy
│   ├── ConfigError                          a config file, a key in it, or a ``--set``
│   ├── DataError                            a file of rows, a corpus, a prompt file
│   ├── ModelError                           a model that is absent, unreadable or of the wrong kind
│   ├── StorageError                         a folder that may not be written
│   └── MissingExtraError                    an optional dependency that is not installed
├── CapabilityError                 exit 2   an engine was asked for what it cannot do
├── RunLockedError                  exit 2   another process holds the run
├── DiskFullError                   exit 3   there is no room left; the same command goes on once there is
├── OutOfMemoryError                exit 3   memory does not suffice, not even for a batch of one
└── StageError                      exit 3   a stage could not produce what the next one needs
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from concept_forget.credentials import hide_keys


class ConceptForgetError(Exception):
    """A fault of the program or of the machine. Subclasses narrow it; the command line exits with ``exit_code``."""

    exit_code: int = 3


class UserError(ConceptForgetError):
    """A mistake the user can mend.

    Args:
        problem: What was found, in one sentence.
        remedy: What to do about it, in one sentence.
        file: The file in which it was found.
        line: Its line, counted from 1.
        key: The config key, or the name of the field.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        remedy: str = "",
        file: str | Path | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        self.problem = problem
        self.remedy = remedy
        self.file = str(file) if file is not None else None
        self.line = line
        self.key = key
        super().__init__(self._message())

    def stands_at(self, file: str | Path, line: int | None) -> None:
        """Add the place in a file, where who raised it knew the key alone."""
        self.file, self.line = str(file), line
        self.args = (self._message(),)

    def _message(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}" if place else f"line {self.line}"
        if self.key:
            place += f": {self.key}" if place else self.key
        text = f"{place}: {self.problem}" if place else self.problem
        return f"{text}\n  → {self.remedy}" if self.remedy else text


class ConfigError(UserError):
    """A config file that cannot be read, an unknown or misplaced key, a value of the wrong type or out of bounds."""


class DataError(UserError):
    """A file of rows, a corpus or a prompt file that cannot be used."""


class ModelError(UserError):
    """A model that is absent, unreadable, or not of the kind that the stage needs."""


class StorageError(UserError):
    """A folder or file that this user may not write, or that lies on a disk which is read-only."""


class MissingExtraError(UserError):
    """An optional dependency that the config asks for and this environment lacks."""


class CapabilityError(ConceptForgetError):
    """An engine was asked for something outside its ``capabilities``."""

    exit_code = 2


class RunLockedError(ConceptForgetError):
    """Another process is working on the same run."""

    exit_code = 2


class DiskFullError(ConceptForgetError):
    """A disk has no room left; what was finished is kept."""


class OutOfMemoryError(ConceptForgetError):
    """Memory does not suffice, however small the batch."""


class EngineError(ConceptForgetError):
    """A model server, or the process of an engine, does not answer any more; what it answered before is kept."""


class StageError(ConceptForgetError):
    """A stage finished without what the next stage needs; the message says which step, how much, and why."""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A remedy that names the choice that is spelt most like a name, or nothing where none is like it."""
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def first_line(error: Exception) -> str:
    """What an error of somebody else's says, in one line and without keys; its kind where it says nothing."""
    return hide_keys(next(iter(str(error).strip().splitlines()), "")) or type(error).__name__
