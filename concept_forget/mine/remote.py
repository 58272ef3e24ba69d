"""Files of a corpus that lie in object stores, as in s3://bucket/folder/*.jsonl: listed, and fetched to be read.

The environment says who may read them, as for the store's own tools: ``AWS_ACCESS_KEY_ID``, or a machine's role.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from concept_forget.errors import DataError, first_line

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs")
_BLOCK = 1 << 20
_ADDRESS = re.compile(rf"(?P<place>(?:{'|'.join(SCHEMES)})://[^/?]*)/?(?P<path>[^?]*)(?P<options>\?.*)?")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in an object store, and what tells it from another state of itself."""

    address: str
    size: int
    changed: str

    @property
    def name(self) -> str:
        """Its address without the options behind it."""
        return self.address.partition("?")[0]


def is_remote(pattern: str) -> bool:
    """Whether a path of the corpus is an address in an object store."""
    return _ADDRESS.fullmatch(pattern) is not None


def find_remote(pattern: str, key: str) -> list[RemoteFile]:
    """The files that an address stands for, sorted: one file, all under a folder, or those that match.

    Args:
        pattern: The address; ``*``, ``**`` and ``[…]`` match as in file names. Behind a ``?`` stand options of the
            store, as in ``?region=eu-west-1``.
        key: The config key, for error messages.

    Raises:
        DataError: The store does not answer, or there is no such file; or the address holds a key.
    """
    parts = _ADDRESS.fullmatch(pattern)
    assert parts is not None
    if "@" in parts["place"]:
        raise DataError(
            "the address holds a key, which would be written into the run",
            key=key,
            remedy="leave it out; the environment names it, as in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    options = parts["options"] or ""
    with _explained(pattern, key):
        store, root = _open(parts["place"] + options)
        found = _list(store, f"{root}/{parts['path']}".rstrip("/"))
    scheme = parts["place"].partition("://")[0]
    listed = [
        RemoteFile(f"{scheme}://{entry.path}{options}", entry.size, entry.mtime.isoformat())
        for entry in found
        if not any(part.startswith(".") for part in PurePosixPath(entry.path).parts)
    ]
    if not listed:
        raise DataError(f"{pattern!r} matches no file", key=key, remedy="check the bucket, the path and its options")
    return sorted(listed, key=lambda file: file.address)


def _list(store: FileSystem, path: str) -> list[FileInfo]:
    """The files that a path in a store stands for."""
    from fsspec.utils import glob_translate
    from pyarrow.fs import FileSelector, FileType

    matches = None
    folder = path
    if wildcard := re.search(r"[*[]", path):
        folder = path[: wildcard.start()].rpartition("/")[0]
        matches = re.compile(glob_translate(path))
    else:
        (entry,) = store.get_file_info([path])
        if entry.type == FileType.File:
            return [entry]
    entries = store.get_file_info(FileSelector(folder, allow_not_found=True, recursive=True))
    return [e for e in entries if e.type == FileType.File and (matches is None or matches.fullmatch(e.path))]


@contextlib.contextmanager
def fetched(address: str) -> Iterator[Path]:
    """A copy of a file on this machine while the block runs.

    Raises:
        OSError: The store does not give it.
    """
    parts = _ADDRESS.fullmatch(address)
    assert parts is not None
    store, root = _open(parts["place"] + (parts["options"] or ""))
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        copy = Path(folder) / PurePosixPath(parts["path"]).name
        with (
            store.open_input_stream(f"{root}/{parts['path']}", compression=None) as there,
            copy.open("wb") as here,
        ):
            shutil.copyfileobj(there, here, _BLOCK)
        yield copy


def _open(place: str) -> tuple[FileSystem, str]:
    """The store, and the bucket's name in it."""
    from pyarrow.fs import FileSystem

    store, root = FileSystem.from_uri(place)
    return store, root


@contextlib.contextmanager
def _explained(pattern: str, key: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(
            f"{pattern!r} cannot be listed: {first_line(error)}",
            key=key,
            remedy="check the bucket, the region behind `?region=`, and that the environment names who may read it",
        ) from error
