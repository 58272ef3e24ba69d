"""The corpus as the config names it: finds its files and datasets, and reads them one after the other."""

from __future__ import annotations

import contextlib
import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from concept_forget.config import CorpusSource
from concept_forget.errors import DataError, first_line
from concept_forget.execution import Workers
from concept_forget.hub_rows import hub_faults
from concept_forget.mine.dataset_folders import check_dataset, is_dataset, is_saved
from concept_forget.mine.folders import Found, files_in, files_like
from concept_forget.mine.readers import COMPRESSING, READERS, Piece, Skip, SourceFile, find_reader, read_rows
from concept_forget.mine.remote import RemoteFile, fetched, find_remote, is_remote
from concept_forget.user_rows import LOOK
from concept_forget.workspace import file_hash

SANDBOX = "sandbox"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row, or a whole file, that was passed over. ``line`` is a line, or a row of a table, counted from 1."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of ``corpus:``, and the files it stands for, here or in an object store.

    It has none where ``datasets`` opens it as a whole. ``links`` are not followed.
    """

    key: str
    choice: CorpusSource
    files: tuple[Path, ...]
    remote: tuple[RemoteFile, ...] = ()
    links: tuple[Path, ...] = ()

    @property
    def pattern(self) -> str:
        """What the config says, as the user wrote it."""
        return SANDBOX if self.choice.path is None else self.choice.path

    @property
    def size(self) -> int | None:
        """Bytes on disk or in a store; None where a set on the hub is meant."""
        if self.remote:
            return sum(file.size for file in self.remote)
        if not self.files and self.folder is None:
            return None
        files = self.files or files_in(self.folder or Path(), hidden=True).files
        return sum(path.stat().st_size for path in files)

    @property
    def folder(self) -> Path | None:
        """The folder that ``datasets`` opens as a whole."""
        folder = Path(self.pattern).expanduser()
        return folder if not self.choice.sandbox and folder.is_dir() else None


def find_sources(choices: Sequence[CorpusSource], sandbox: Path | None = None) -> list[Source]:
    """Find every file that the config names, in a fixed order; a file named twice is taken once.

    Args:
        choices: The entries of ``corpus:``.
        sandbox: The file of the sandbox's documents, where it exists already.

    Raises:
        DataError: A path is absent, or a file has an ending that no reader is for; or a dataset leads elsewhere.
    """
    sources: list[Source] = []
    taken: set[tuple[Path | str, str]] = set()
    for index, choice in enumerate(choices):
        key = f"corpus.{index}.path"
        if choice.path is None:
            sources.append(Source(f"corpus.{index}.sandbox", choice, (sandbox,) if sandbox is not None else ()))
            continue
        if is_remote(choice.path):
            found_there = find_remote(choice.path, key)
            fresh_there = [file for file in found_there if (file.address, choice.text) not in taken]
            taken.update((file.address, choice.text) for file in fresh_there)
            sources += [Source(key, choice, (), tuple(fresh_there))] if fresh_there else []
            continue
        found = _find_files(choice.path, choice, key)
        fresh: list[Path] = []
        for path in found.files:
            if (mark := (path.resolve(), choice.text)) not in taken:
                taken.add(mark)
                fresh.append(path)
        if fresh or not found.files:
            sources.append(Source(key, choice, tuple(fresh), links=found.links))
    return sources


def _find_files(pattern: str, choice: CorpusSource, key: str) -> Found:
    path = Path(pattern).expanduser()
    if path.is_file():
        if find_reader(path) is None:
            raise DataError(
                f"no reader is for a file with this ending: {path.name}",
                file=path,
                key=key,
                remedy=f"the endings are {', '.join(READERS)}, "
                f"all but {' and '.join(COMPRESSING)} also with .gz behind them",
            )
        return Found((path,))
    if path.is_dir():
        if is_dataset(path, choice):
            check_dataset(path, key)
            return Found()
        return _some(files_in(path), f"the folder {pattern!r} holds no file", key)
    if glob.has_magic(str(path)):
        return _some(files_like(str(path)), f"{pattern!r} matches no file", key)
    if _looks_local(pattern):
        raise DataError(f"there is no file or folder {pattern!r}", key=key, remedy=LOOK)
    return Found()


_LINK = "a link to a folder, or out of the folder that was named, is not followed; name what it leads to"


def _some(found: Found, problem: str, key: str) -> Found:
    if not found.files:
        links = f", but {len(found.links)} links that are not followed" if found.links else ""
        raise DataError(problem + links, key=key, remedy=_LINK if links else LOOK)
    return found


def _looks_local(pattern: str) -> bool:
    return pattern.startswith((".", "/", "~")) or pattern.count("/") > 1 or find_reader(Path(pattern)) is not None


def hash_sources(sources: Sequence[Source]) -> list[object]:
    """What stands for the corpus in a fingerprint: the files' names and hashes, a hub set's commit."""
    marks: list[object] = []
    for source in sources:
        folder = source.folder
        files = source.files
        if folder is not None and not files:
            files = files_in(folder, hidden=True).files
        hashes: list[object] = [] if source.choice.sandbox else [[path.as_posix(), file_hash(path)] for path in files]
        hashes += [[file.address, file.size, file.changed] for file in source.remote]
        commit = None if source.choice.sandbox or hashes else _commit(source.choice)
        marks.append([source.choice.model_dump(mode="json"), hashes, commit])
    return marks


def _commit(choice: CorpusSource) -> str | None:
    """The commit that a hub set's revision stands for now; the revision itself where the hub does not answer."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    assert choice.path is not None
    if choice.revision is not None and _COMMIT.fullmatch(choice.revision):
        return choice.revision
    try:
        return HfApi().dataset_info(choice.path, revision=choice.revision, timeout=10).sha
    except (HfHubHTTPError, HFValidationError, OSError):
        return choice.revision


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A file that anybody can read who has it. ``name`` stands for it in ``Piece.document``.

    One in an object store has an ``address``, by which it is fetched.
    """

    path: Path
    name: str
    choice: CorpusSource
    max_line_bytes: int
    address: str = ""


Event = Piece | Skipped | int
"""What reading comes to: a text, a row that was passed over, or bytes that were read."""


def read_file(file: CorpusFile) -> Iterator[Event]:
    """All that a file holds, in its order.

    Raises:
        OSError: It cannot be opened, or its store does not give it.
    """
    if file.address:
        with fetched(file.address) as copy:
            yield from read_file(replace(file, path=copy, address=""))
        return
    noted: list[Event] = []
    texts = passed_over = 0

    def skip(line: int, reason: str) -> None:
        nonlocal passed_over
        passed_over += 1
        noted.append(Skipped(file.name, line, reason))

    read = find_reader(file.path)
    if read is None:
        yield Skipped(file.name, 1, f"no reader is for a file with this ending; the endings are {', '.join(READERS)}")
        return
    source = SourceFile(
        file.path,
        file.name,
        file.choice.text,
        file.max_line_bytes,
        by_id=file.choice.sandbox,
        advance=noted.append,
    )
    for piece in read(source, skip):
        texts += 1
        yield from noted
        noted.clear()
        yield piece
    if not texts and not passed_over:
        skip(1, "the file is empty")
    yield from noted


class Corpus:
    """Reads the sources, in order. What cannot be read is listed in ``skipped``.

    Args:
        sources: From ``find_sources``.
        max_line_bytes: Bytes that a line of a text file, or a row of a JSON array, may have.
        workers: They read the files; None: this process does.
    """

    def __init__(self, sources: Sequence[Source], max_line_bytes: int, workers: Workers | None = None) -> None:
        self.sources = sources
        self.skipped: list[Skipped] = []
        self.documents = 0
        self.bytes_read = 0
        self._max_line_bytes = max_line_bytes
        self._workers = workers
        self._last = ""

    @property
    def size(self) -> int | None:
        """Bytes on disk, or None where a hub set is among the sources."""
        sizes = [source.size for source in self.sources]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def pieces(self) -> Iterator[Piece]:
        """Every text of the corpus.

        Raises:
            DataError: A source holds no text at all, or cannot be opened.
        """
        for source in self.sources:
            before, skipped = self.documents, len(self.skipped)
            try:
                yield from self._read(source)
            except OSError as error:
                raise DataError(
                    f"{source.pattern!r} cannot be read: {error.strerror or error}",
                    file=error.filename,
                    key=source.key,
                    remedy="make it readable, or name another",
                ) from error
            if self.documents == before:
                raise DataError(
                    f"{source.pattern!r} holds no text that can be read{_reasons(self.skipped[skipped:])}",
                    key=source.key,
                    remedy="name the column that holds the text with {path: …, text: COLUMN}, or mend the rows",
                )

    def _read(self, source: Source) -> Iterator[Piece]:
        if source.choice.path is not None and not source.files and not source.remote:
            with _explained(source):
                rows = _open_folder(source.folder, source.choice) if source.folder else _open_hub(source.choice)
                skip = self._skip(source.pattern)
                yield from self._counted(read_rows(rows, source.pattern, source.choice.text, skip))
            return
        self.skipped += (Skipped(link.as_posix(), 1, _LINK) for link in source.links)
        yield from self._counted(self._noted(self._read_files(source)))

    def _read_files(self, source: Source) -> Iterator[Event]:
        files = [
            CorpusFile(path, SANDBOX if source.choice.sandbox else path.as_posix(), source.choice, self._max_line_bytes)
            for path in source.files
        ]
        files += [
            CorpusFile(Path(file.name), file.name, source.choice, self._max_line_bytes, file.address)
            for file in source.remote
        ]
        if self._workers is None:
            for file in files:
                yield from read_file(file)
            return
        # A worker has a working folder of its own.
        there = [replace(file, path=file.path.absolute()) for file in files]
        with contextlib.closing(self._workers.read(read_file, there)) as events:
            yield from (event for _, event in events)

    def _noted(self, events: Iterator[Event]) -> Iterator[Piece]:
        """The texts, after noting all else that comes with them."""
        for event in events:
            if isinstance(event, Piece):
                yield event
            elif isinstance(event, Skipped):
                self.skipped.append(event)
            else:
                self.bytes_read += event

    def _counted(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        for piece in pieces:
            self.documents += piece.document != self._last
            self._last = piece.document
            yield piece

    def _skip(self, name: str) -> Skip:
        def skip(line: int, reason: str) -> None:
            self.skipped.append(Skipped(name, line, reason))

        return skip


def _reasons(skipped: Sequence[Skipped]) -> str:
    """The three commonest reasons, each with the place where it was met first."""
    first = {}
    for entry in reversed(skipped):
        first[entry.reason] = entry
    common = Counter(entry.reason for entry in skipped).most_common(3)
    listed = [f"{first[reason].file}:{first[reason].line}: {reason} ({count}×)" for reason, count in common]
    return "".join(f"\n    {line}" for line in listed)


def _open_folder(folder: Path, choice: CorpusSource) -> Any:
    import datasets

    if not is_saved(folder):
        return datasets.load_dataset(str(folder), choice.name, split=choice.split, streaming=True)
    found = datasets.load_from_disk(str(folder))
    return found[choice.split] if isinstance(found, datasets.DatasetDict) else found


def _open_hub(choice: CorpusSource) -> Any:
    import datasets

    # Without a connection only what is in the local cache can be had; it is mapped into memory, not streamed.
    streaming = not datasets.config.HF_HUB_OFFLINE
    return datasets.load_dataset(
        choice.path, choice.name, split=choice.split, revision=_commit(choice), streaming=streaming
    )


@contextlib.contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Turn what ``datasets`` raises into one error that names the key."""
    try:
        yield
    except hub_faults() as error:
        what = "not a folder that `datasets` reads" if source.folder else "neither a file here nor a set on the hub"
        raise DataError(
            f"{source.pattern!r} is {what}: {first_line(error)}",
            key=source.key,
            remedy="check spelling, `name`, `split` and the connection, or give the path of files",
        ) from error
