"""Lines of a plain or gzipped file, streamed, numbered and never longer than a limit."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 16
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class BrokenStreamError(Exception):
    """A file cannot be read to its end; the message says why. What came before it stands."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, without its end.

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


class _OpenLine:
    """A line whose end has not come yet. Beyond the limit only its characters are counted."""

    def __init__(self, number: int, limit: int) -> None:
        self.number = number
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
        too_long = f"the line has {self._size:,} bytes, more than mine.max_line_bytes ({self._limit:,})"
        return Line(self.number, b"", self._characters, f"{too_long}; {problem}" if problem else too_long)
