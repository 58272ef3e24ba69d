"""The files of a folder or of a pattern; no link in it is followed out of it, nor to another folder."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Found:
    """Files in the order of their names, and the links among them that lead out of the folder or to a folder."""

    files: tuple[Path, ...] = ()
    links: tuple[Path, ...] = ()


def files_in(folder: Path, *, hidden: bool = False) -> Found:
    """All files of a folder, whatever is a device or a pipe left out.

    Args:
        folder: The folder; it may be a link itself.
        hidden: Whether those are meant whose name, or whose folder's, begins with a full stop.
    """
    return _sort_out((path for inner in _folders(folder, hidden) for path in _entries(inner, hidden)), folder)


def files_like(pattern: str) -> Found:
    """All files that a pattern means, as ``glob.glob`` does; the parts before its first wildcard may be links."""
    parts = Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    folder = Path(*parts[:first])
    return _sort_out(_matches(folder, parts[first:]), folder)


def _matches(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """What matches below a folder, and every link to a folder that was not looked into."""
    first, rest = parts[0], parts[1:]
    if first == "**":
        while rest[:1] == ("**",):
            rest = rest[1:]
        for inner in _folders(folder):
            yield from _matches(inner, rest) if rest else ()
            yield from (path for path in _entries(inner) if not rest or (path.is_symlink() and path.is_dir()))
        return
    if glob.has_magic(first):
        found = [path for path in _entries(folder, first.startswith(".")) if fnmatch.fnmatch(path.name, first)]
    else:
        found = [folder / first]
    for path in found:
        if not rest or (path.is_symlink() and path.is_dir()):
            yield path
        elif path.is_dir():
            yield from _matches(path, rest)


def _folders(folder: Path, hidden: bool = False) -> Iterator[Path]:
    """The folder and all below it."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        yield here
        waiting += (path for path in _entries(here, hidden) if path.is_dir() and not path.is_symlink())


def _entries(folder: Path, hidden: bool = False) -> list[Path]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [folder / name for name in names if hidden or not name.startswith(".")]


def _sort_out(paths: Iterable[Path], folder: Path) -> Found:
    root = _root(folder)
    files: list[Path] = []
    links: list[Path] = []
    for path in sorted(set(paths)):
        if path.is_symlink() and (path.is_dir() or not Path(os.path.realpath(path)).is_relative_to(root)):
            links.append(path)
        elif path.is_file():
            files.append(path)
    return Found(tuple(files), tuple(links))


def _root(folder: Path) -> Path:
    """What a link may not lead out of. In the hub's cache a snapshot's files are links to ``blobs`` beside it."""
    root = Path(os.path.realpath(folder))
    for place in (root, *root.parents):
        if place.name == "snapshots" and place.parent.name.startswith("datasets--"):
            return place.parent
    return root
