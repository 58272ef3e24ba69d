"""Lines of a plain or gzipped file, or elements of a JSON array, streamed, numbered and never longer than a limit."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 16
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OUTSIDE_STRING = re.compile(rb'[^"\[\]{},]*+')
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class BrokenStreamError(Exception):
    """A file cannot be read to its end; the message says why. What came before it stands."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, without its end; or one element of an array, without the comma behind it.

    ``problem`` says what is wrong with it: too long (``data`` is empty then), or cut off where a gzip stream breaks.
    """

    number: int  # counted from 1
    data: bytes
    characters: int | None = None  # of a line that is too long: how many it has
    problem: str | None = None


def read_blocks(path: Path, advance: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of a file, unpacked where its name ends in ``.gz``.

    Args:
        path: The file.
        advance: Told how many bytes of the file on disk were read.

    Raises:
        OSError: The file cannot be opened.
        BrokenStreamError: It is no gzip file, ends too early, or is damaged; all blocks before that were given.
    """
    with path.open("rb") as raw:
        seen = 0
        # read1 gives what one step of unpacking yields, so that a damaged end takes nothing before it along.
        packed = gzip.GzipFile(fileobj=raw) if path.name.casefold().endswith(".gz") else None
        while True:
            try:
                block = packed.read1(BLOCK) if packed is not None else raw.read(BLOCK)
            except EOFError as error:
                raise BrokenStreamError("the gzip stream ends too early; what follows is lost") from error
            except (gzip.BadGzipFile, zlib.error) as error:
                raise BrokenStreamError(f"the gzip stream is damaged; what follows is lost ({error})") from error
            advance(raw.tell() - seen)
            seen = raw.tell()
            if not block:
                return
            yield block


def read_lines(path: Path, limit: int, advance: Callable[[int], None]) -> Iterator[Line]:
    """The lines of a file, without a byte order mark.

    Args:
        path: A plain file, or a gzipped one whose name ends in ``.gz``.
        limit: Bytes a line may have. A longer one is never held in memory; it comes with a ``problem`` and no data.
        advance: Told how many bytes of the file on disk were read.

    Raises:
        OSError: The file cannot be opened.
    """
    line = _OpenLine(1, limit)
    try:
        for number, block in enumerate(read_blocks(path, advance)):
            if number == 0:
                if block.startswith(_UTF16):
                    yield Line(1, b"", problem="the file is UTF-16, not UTF-8; save it as UTF-8")
                    return
                block = block.removeprefix(codecs.BOM_UTF8)
            *ended, rest = block.split(b"\n")
            for part in ended:
                line.add(part)
                yield line.close()
                line = _OpenLine(line.number + 1, limit)
            line.add(rest)
    except BrokenStreamError as error:
        yield line.close(str(error))
        return
    if line.begun:
        yield line.close()


def read_elements(path: Path, limit: int, advance: Callable[[int], None]) -> Iterator[Line]:
    """The elements of a JSON array as they stand there; whether each is JSON is for who reads it to find out.

    Args:
        path: A plain file, or a gzipped one whose name ends in ``.gz``; the first of its text is ``[``.
        limit: Bytes an element may have. A longer one is never held in memory; it comes with a ``problem`` and no data.
        advance: Told how many bytes of the file on disk were read.

    Raises:
        OSError: The file cannot be opened.
    """
    element, ended = _OpenLine(1, limit, "row"), False
    try:
        for part, mark in _parts(read_blocks(path, advance)):
            if ended:
                if part.strip():
                    yield Line(element.number, b"", problem="the array ends before it; what follows is lost")
                    return
                continue
            element.add(part)
            if mark:
                line = element.close()
                ended = mark == b"]"
                if line.number > 1 or not ended or line.problem or line.data.strip():
                    yield line
                element = _OpenLine(line.number + 1, limit, "row")
    except BrokenStreamError as error:
        yield element.close(str(error))
        return
    if not ended:
        yield element.close("the array does not end; what follows is lost")


def _parts(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """What an array holds, up to each of its own commas and to its end; nothing is behind a part where a block ends."""
    depth = 0
    text = cut = False  # whether this is within a string, and an escape begun in it
    for number, block in enumerate(blocks):
        begun = place = len(codecs.BOM_UTF8) if number == 0 and block.startswith(codecs.BOM_UTF8) else 0
        if cut:
            place, cut = 1, False
        while place < len(block):
            found = (_IN_STRING if text else _OUTSIDE_STRING).match(block, place)
            place = found.end() if found is not None else place
            mark = block[place : place + 1]
            place += 1
            if mark == b"\\":
                cut = True
            elif mark == b'"':
                text = not text
            elif mark in (b"[", b"{"):
                depth += 1
                begun = place if depth == 1 else begun
            elif depth > 1 and mark in (b"]", b"}"):
                depth -= 1
            elif depth == 1 and mark in (b",", b"]"):
                yield block[begun : place - 1], mark
                begun = place
                if mark == b"]":
                    yield block[place:], b""
                    yield from ((rest, b"") for rest in blocks)
                    return
        yield block[begun:], b""


class _OpenLine:
    """A line whose end has not come yet. Beyond the limit only its characters are counted."""

    def __init__(self, number: int, limit: int, kind: str = "line") -> None:
        self.number = number
        self._kind = kind
        self._limit = limit
        self._held = bytearray()
        self._size = 0
        self._characters = 0
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def begun(self) -> bool:
        return self._size > 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._decoder is None and self._size > self._limit:
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
            self._characters = len(self._decoder.decode(bytes(self._held)))
            self._held.clear()
        if self._decoder is None:
            self._held += part
        else:
            self._characters += len(self._decoder.decode(part))

    def close(self, problem: str | None = None) -> Line:
        if self._decoder is None:
            return Line(self.number, bytes(self._held).removesuffix(b"\r"), problem=problem)
        self._characters += len(self._decoder.decode(b"", final=True))
        too_long = f"the {self._kind} has {self._size:,} bytes, more than mine.max_line_bytes ({self._limit:,})"
        return Line(self.number, b"", self._characters, f"{too_long}; {problem}" if problem else too_long)
