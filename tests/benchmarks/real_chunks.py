"""Vectors of real text for the measurements of search: chunks of the docstrings of whatever Python packages are here.

``python tests/benchmarks/real_chunks.py FOLDER`` fills ``FOLDER/vectors.sqlite``; interrupted, it goes on.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from concept_forget.concept import Concept
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.mine.chunks import Chunk, cut
from concept_forget.mine.readers import Piece
from concept_forget.records import Fact, Question, content_hash, named_random

COUNT = 10_000
LENGTH = 500
PER_FILE = 8
"""Chunks of one file at most: a handful of long modules should not make up the whole."""


def chunks(count: int = COUNT) -> list[Chunk]:
    """Different chunks of docstrings, of files in an order drawn by their names."""
    root = Path(sysconfig.get_path("purelib"))
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    names.sort(key=lambda name: content_hash("file", name))
    found: dict[str, Chunk] = {}
    for name in names:
        own = [chunk for text in _docstrings(root / name) for chunk in cut(Piece(name, text), LENGTH)]
        own = [chunk for chunk in own if len(chunk.text) >= 80]
        for chunk in named_random(0, "chunks", name).sample(own, min(PER_FILE, len(own))):
            found.setdefault(chunk.text, chunk)
        if len(found) >= count:
            return list(found.values())[:count]
    raise SystemExit(f"the packages here hold {len(found)} chunks, {count} are needed")


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            yield text


CONCEPT = Concept(name="DataFrame", kind="data structure", description="A table with named columns, as in pandas.")
ASKED = (
    ("joining", "merge", "Which method joins a DataFrame with another one on common columns?"),
    ("missing values", "fillna", "Which method of a DataFrame fills in missing values?"),
    ("grouping", "groupby", "Which method parts a DataFrame into groups of rows by the values of a column?"),
    ("selection", "loc", "Which indexer selects rows and columns of a DataFrame by their labels?"),
    ("reshaping", "pivot", "Which method reshapes a DataFrame so that values of a column become columns?"),
    ("output", "to_csv", "Which method writes a DataFrame into a file of comma-separated values?"),
    ("types", "dtypes", "Which attribute of a DataFrame tells the type of each column?"),
    ("order", "sort_values", "Which method orders the rows of a DataFrame by a column?"),
)


def subject() -> tuple[Concept, list[Fact], list[Question]]:
    """A concept that some of the docstrings are about, its facts, and a question about each."""
    facts, questions = [], []
    for facet, answer, text in ASKED:
        name = CONCEPT.name
        fact = Fact(Fact.make_id(name, facet, answer), name, name, CONCEPT.kind, facet, answer, f"{name}: {answer}")
        facts.append(fact)
        questions.append(Question(Question.make_id(fact.id, "direct", text), fact.id, "direct", 0, text, answer))
    return CONCEPT, facts, questions


def vectors(folder: Path, count: int = COUNT) -> NDArray[np.float32]:
    """Their vectors, shape (count, 384), kept in a folder."""
    embedder = Embedder(find_encoder("auto"), folder / VECTORS)
    try:
        return embedder.encode([chunk.text for chunk in chunks(count)])
    finally:
        embedder.close()


if __name__ == "__main__":
    print(vectors(Path(sys.argv[1])).shape)
