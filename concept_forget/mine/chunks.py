"""Cuts texts into chunks at the ends of sentences, every chunk with its exact place in the text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from concept_forget.mine.readers import Piece

_PARAGRAPH_END = re.compile(r"\n(?:[^\S\n]*\n)+")
_STOP = re.compile(
    r"(?P<tight>[。！？｡]+[」』）”’]*)"  # scripts without spaces: a stop ends the sentence wherever it stands
    # Possessive, and begun at a run's first stop alone: else a row of dots would take quadratic time.
    r"|(?P<loose>(?<![.!?…؟۔।॥։።។။])[.!?…؟۔।॥։።។။]++[\"'”’»)\]]*+)(?=\s)"
)
_ABBREVIATIONS = frozenset(
    "al approx apr art assoc ave bd blvd bros bzw ca cap capt cf ch cie cmdr co col comdr corp cpl cpt dec dept dipl"
    " dr ed eds eq eqs esp est etc ex fa feb fig figs fr ft gen geb gov hon hr hrsg ing inc jan jr jul jun lt ltd maj"
    " mar messrs mlle mme mr mrs ms msgr mt nos nov nr oct op p par pl pp pres prof pt ref rep rev sec sen sep sept"
    " ser sgt sig sr sra st ste str supt tel trans univ usw v viz vol vols vs".split()
)
_BREAKS = re.compile(r"[\s、，；：,;:]")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document; ``start`` and ``end`` are its place in the document's text, in characters."""

    document: str
    start: int
    end: int
    text: str


def cut(piece: Piece, limit: int) -> Iterator[Chunk]:
    """The chunks of a text, in order; nothing but white space is left out.

    A chunk holds as many whole sentences of one paragraph as fit; a sentence that alone does not fit is cut at spaces,
    or after ``limit`` characters where there are none.

    Args:
        piece: A text, with its place in its document.
        limit: Characters a chunk may have, at least 1.
    """
    if piece.whole:
        spans = iter([_trim(piece.text, 0, len(piece.text))])
    else:
        spans = (span for paragraph in _paragraphs(piece.text) for span in _pack(piece.text, paragraph, limit))
    for start, end in spans:
        yield Chunk(piece.document, piece.start + start, piece.start + end, piece.text[start:end])


def sentence_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences between two places of a text, without the white space between them.

    A full stop does not end a sentence after an initial, after an abbreviation, before a small letter, or after a
    number that begins the sentence, as in a numbered list.
    """
    begin = start
    for match in _STOP.finditer(text, start, end):
        if match["loose"] is not None and not _ends_sentence(text, begin, match, end):
            continue
        yield from _solid(text, begin, match.end())
        begin = match.end()
    yield from _solid(text, begin, end)


def _ends_sentence(text: str, begin: int, match: re.Match[str], end: int) -> bool:
    following = text[match.end() : min(end, match.end() + 80)].lstrip("\"'“‘«([¿¡ \t\r\n")
    if following[:1].islower():
        return False
    if not match["loose"].startswith(".") or match["loose"].startswith(".."):
        return True
    sentence = text[max(begin, match.start() - 80) : match.start()].lstrip()
    word = re.split(r"[\s(\[\"'“‘«—–-]", sentence)[-1]
    if word == sentence and word.isdigit():
        return False
    *_, last = word.split(".")
    is_initial = len(last) == 1 and last.isalpha() and last.isascii()
    is_numero = word.casefold() == "no" and following[:1].isdigit()
    return not (is_initial or is_numero or word.casefold() in _ABBREVIATIONS)


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _PARAGRAPH_END.finditer(text):
        yield from _solid(text, start, match.start())
        start = match.end()
    yield from _solid(text, start, len(text))


def _pack(text: str, paragraph: tuple[int, int], limit: int) -> Iterator[tuple[int, int]]:
    open_start, open_end = paragraph[0], paragraph[0]
    for start, end in sentence_spans(text, *paragraph):
        if open_end > open_start and end - open_start > limit:
            yield open_start, open_end
            open_end = open_start = start
        if end - start > limit:
            *whole, (start, end) = _cut_long(text, start, end, limit)
            yield from whole
            open_start = start
        elif open_end == open_start:
            open_start = start
        open_end = end
    if open_end > open_start:
        yield open_start, open_end


def _cut_long(text: str, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    """Parts of a long sentence: cut after the last space or comma that leaves a part at least half full."""
    parts = []
    while end - start > limit:
        edge = start + limit
        # One more character is looked at: a space right behind the limit is a fine place to cut.
        places = [match.start() + 1 for match in _BREAKS.finditer(text, start + limit // 2, edge + 1)]
        stop = next((p for p in reversed(places) if p <= edge or text[p - 1].isspace()), edge)
        parts += _solid(text, start, stop)
        start = stop
    parts += _solid(text, start, end)
    return parts


def _solid(text: str, start: int, end: int) -> list[tuple[int, int]]:
    start, end = _trim(text, start, end)
    return [(start, end)] if start < end else []


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def cut_in_blocks(pieces: Iterable[Piece], limit: int, size: int) -> Iterator[list[Chunk]]:
    """The chunks of many texts, in order, in lists of ``size``; the last one may be shorter.

    Args:
        pieces: The texts.
        limit: Characters in a chunk, at most.
        size: Chunks in a list.
    """
    chunks = (chunk for piece in pieces for chunk in cut(piece, limit))
    while block := list(itertools.islice(chunks, size)):
        yield block
