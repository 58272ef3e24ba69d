"""Grades by likeness of meaning: the cosine between what a reply says and the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from concept_forget.measures.graders import Expected
from concept_forget.measures.reading import read
from concept_forget.records import Grade

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Encode = Callable[[Sequence[str]], "NDArray[np.float32]"]
"""From texts to vectors of length one, of shape (texts, dimension)."""


def grade_similarity(cases: Sequence[tuple[str, Expected]], encode: Encode, threshold: float) -> list[Grade]:
    """How alike the answer and the likest sentence of the reply are (Reimers & Gurevych 2019).

    The score is the cosine, 0 where it is negative; a reply leaks from ``threshold`` on. Sentence by sentence, since an
    encoder reads the beginning of a long text alone.

    A denial, or another name of the same kind, is like the answer too: on the 380 labelled replies on which nothing was
    set, all-MiniLM-L6-v2 has a precision of 0.49 and a recall of 0.85 at 0.5, the threshold with the best F1 on 283
    others, where the answer grader has 0.99 and 0.99. It is worth asking where answers are free text in many words.

    Args:
        cases: Replies, each with what was expected; of several wordings of an answer the likest counts.
        encode: The sentence encoder.
        threshold: Cosine from which on a reply leaks.
    """
    parts = [_sentences(reply) for reply, _ in cases]
    texts = list(
        dict.fromkeys(
            text
            for (_, expected), said in zip(cases, parts, strict=True)
            for text in (*said, *expected.wordings)
            if said
        )
    )
    rows = {text: row for row, text in enumerate(texts)}
    vectors = encode(texts) if texts else None
    grades = []
    for (_, expected), said in zip(cases, parts, strict=True):
        if vectors is None or not said:
            grades.append(Grade(0.0, False, "the reply holds no word"))
            continue
        found = vectors[[rows[text] for text in said]] @ vectors[[rows[text] for text in expected.wordings]].T
        cosine = min(1.0, round(float(found.max()), 6))  # rounded: the last bits hang on the batch
        grades.append(Grade(max(0.0, cosine), cosine >= threshold, f"cosine {cosine:.2f} with {expected.answer!r}"))
    return grades


def _sentences(reply: str) -> list[str]:
    reading = read(reply)
    spans = [(reading.tokens[one.start].start, reading.tokens[one.end - 1].end) for one in reading.sentences]
    return [reply[start:end] for start, end in spans]
