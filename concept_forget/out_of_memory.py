"""What is done where memory does not suffice: the batch is halved, the work goes on, and the user is told."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Generic, TypeVar

from concept_forget.console import say
from concept_forget.errors import ConceptForgetError, OutOfMemoryError

# What torch's allocators and libraries say as a plain RuntimeError, besides raising a class of its own.
_TOLD = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "bad_alloc",
)
_recorders: list[list[str]] = []
_told_elsewhere = ContextVar("told elsewhere", default=False)
S = TypeVar("S")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, slots=True)
class Elsewhere(Generic[R]):
    """What another process computed, and what the user has to be told of batches that were halved there."""

    result: R
    halvings: tuple[str, ...]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, torch or one of its libraries says that memory did not suffice."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(part in str(error) for part in _TOLD)


def unless_out_of_memory(compute: Callable[[], R]) -> tuple[R] | None:
    """What a function gives, in a tuple; None where memory did not suffice, and what it held is then free again."""
    try:
        return (compute(),)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    free_memory()
    return None


def free_memory() -> None:
    """Let go of all that nothing refers to any more."""
    import torch

    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def in_halves(compute: Callable[[Sequence[S]], Sequence[R]], batch: Sequence[S], things: str, key: str) -> list[R]:
    """What a function gives for a batch, which is halved where memory does not suffice, and its halves if need be.

    Args:
        compute: Gives as many results as it is handed things; that one depends on another only beyond rounding.
        batch: What is computed.
        things: What they are, as in ``texts``.
        key: The config key that bounds the batch.

    Raises:
        OutOfMemoryError: Memory does not suffice for one alone.
    """
    done = unless_out_of_memory(lambda: compute(batch))
    if done is not None:
        return list(done[0])
    if len(batch) == 1:
        raise too_little(f"for one of the {things}", f"shorten it, or use a smaller model; `{key}` cannot help here")
    half = len(batch) // 2
    tell_halved(f"{len(batch)} {things}", f"the halves of the batch; a lower `{key}` saves the attempt")
    return [*in_halves(compute, batch[:half], things, key), *in_halves(compute, batch[half:], things, key)]


def tell_halved(batch: str, rest: str) -> None:
    """Tell the user that a batch was too large, and whoever records it; of the same words, once.

    Args:
        batch: What did not fit, as in ``64 rows of 512 tokens``.
        rest: What it goes on with.
    """
    _tell(f"Memory does not suffice for {batch}: going on with {rest}")


def compute_elsewhere(compute: Callable[[], R]) -> Elsewhere[R]:
    """Call a function in a process to whose words nobody listens; ``tell_halvings`` is for the one that gets it."""
    before = _told_elsewhere.set(True)
    try:
        with recording_halvings() as told:
            return Elsewhere(compute(), tuple(told))
    finally:
        _told_elsewhere.reset(before)


def tell_halvings(found: Elsewhere[R]) -> R:
    """The result, once the user was told."""
    for line in found.halvings:
        _tell(line)
    return found.result


def _tell(line: str) -> None:
    if not _told_elsewhere.get() and not any(line in recorder for recorder in _recorders):
        say(line, error=True)
    for recorder in _recorders:
        if line not in recorder:
            recorder.append(line)


@contextlib.contextmanager
def recording_halvings() -> Iterator[list[str]]:
    """A list that fills with what is told of batches that were halved within the block."""
    told: list[str] = []
    _recorders.append(told)
    try:
        yield told
    finally:
        _recorders[:] = [recorder for recorder in _recorders if recorder is not told]  # of equal ones, this one


def too_little(for_what: str, remedy: str) -> OutOfMemoryError:
    """The error for where no smaller batch can help."""
    return OutOfMemoryError(f"memory does not suffice {for_what}\n  → {remedy}")


def memory_fault(error: BaseException) -> ConceptForgetError | None:
    """The error that tells of too little memory, where ``error`` is one that nobody could halve a batch for."""
    if isinstance(error, ConceptForgetError) or not is_out_of_memory(error):
        return None
    said = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return too_little(
        f"({said})",
        "lower `batch_tokens` of the section at work, use a smaller model, or give the process more memory; the same "
        "command goes on from the last finished unit",
    )
