"""Faults of the disk in words: full, read-only or not allowed, whichever library met them first."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from concept_forget.errors import ConceptForgetError, DiskFullError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_TOLD_FULL = re.compile(
    r"no space left on device|disk quota exceeded|\(os error (28|122)\)|database or disk is full"
    r"|PytorchStreamWriter failed writing|iostream error|unexpected pos \d+ vs \d+",  # torch.save names no cause
    re.IGNORECASE,
)
_SQLITE_WRITES = (  # what SQLite says where the file beside the database cannot grow
    sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
)  # fmt: skip


def storage_fault(error: BaseException, folders: Sequence[Path]) -> ConceptForgetError | None:
    """The error that tells of a full or read-only disk, where one is behind ``error``; else None.

    Args:
        error: What was raised.
        folders: Where was written; of those that the error does not tell apart, the fullest is named.
    """
    if isinstance(error, (DiskFullError, StorageError)):
        return None
    causes = list(_causes(error))
    if any(_is_full(cause) for cause in causes):
        folder = _place(causes) or _fullest(folders)
        return DiskFullError(
            f"the disk is full: {folder} has {_told(_free(folder))} left\n"
            "  → make room there, or choose another `output`; the same command goes on from the last finished unit, "
            "and nothing half-written is kept"
        )
    if isinstance(error, ConceptForgetError):  # which has told what was not to be read
        return None
    refused = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno in _REFUSED), None)
    if refused is not None and (place := refused.filename or next(iter(folders), None)) is not None:
        return StorageError(
            f"this cannot be written or read: {refused.strerror}",
            file=os.fsdecode(place),
            remedy="let this user write there, or choose another `output`; CONCEPT_FORGET_CACHE names another cache",
        )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        return code == sqlite3.SQLITE_FULL or code in _SQLITE_WRITES
    return not isinstance(error, ConceptForgetError) and _TOLD_FULL.search(str(error)) is not None


def _place(causes: Sequence[BaseException]) -> Path | None:
    """The folder of the file that could not be written, where one of the errors names it."""
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in _FULL and isinstance(cause.filename, str):
            return _there(Path(cause.filename))
    return None


def _fullest(folders: Sequence[Path]) -> Path:
    return min(map(_there, folders or (Path.cwd(),)), key=_free)


def _there(path: Path) -> Path:
    """The nearest folder around a path that exists."""
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), path)


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _told(count: int) -> str:
    """Bytes as people say them, as in 3.1 MB."""
    if count < 1_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.1f} GB"
