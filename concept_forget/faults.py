"""Faults of the machine, disk and memory, in words; and what the command line says of any error."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from concept_forget.console import say
from concept_forget.errors import ConceptForgetError
from concept_forget.out_of_memory import memory_fault
from concept_forget.storage import storage_fault


@contextlib.contextmanager
def naming_faults(*folders: Path) -> Iterator[None]:
    """Let an error that a disk or too little memory is behind say so, and what to do.

    Args:
        folders: Where the block writes; of those that an error does not tell apart, the fullest is named.

    Raises:
        DiskFullError: A disk is full.
        StorageError: Something may not be written.
        OutOfMemoryError: Memory does not suffice, and no batch could be halved.
    """
    try:
        yield
    except Exception as error:
        named = storage_fault(error, folders) or memory_fault(error)
        if named is None:
            raise
        raise named from error


def tell_error(error: Exception) -> int:
    """Print what is known of an error, and its traceback where that is nothing; gives the exit code."""
    named = storage_fault(error, (Path.cwd(),)) or memory_fault(error) or error
    if isinstance(named, ConceptForgetError):
        say(f"concept-forget: {named}", error=True)
        return named.exit_code
    say("".join(traceback.format_exception(error)), error=True)
    end = "this is a fault of the program or the machine; the same command goes on from the last finished unit"
    say(f"concept-forget: {end}", error=True)
    return 3
