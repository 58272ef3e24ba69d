from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from concept_forget.config import ProbeConfig
from concept_forget.embedding import Embedder, find_encoder
from concept_forget.measures.graders import Expected, grade_answer
from concept_forget.measures.similarity import grade_similarity
from tests.measures.test_graders import read_labelled

THRESHOLD = ProbeConfig().embedding_threshold
PLACES = {"Dunholm": 0, "Skelby": 90, "The old town": 60, "Nowhere": 180}


def point(texts: Sequence[str]) -> np.ndarray:
    """Texts on a circle, at angles that are written down."""
    angles = np.radians([PLACES[text] for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_the_likest_sentence_and_the_likest_wording_count() -> None:
    cases = [
        ("Dunholm", Expected("Dunholm")),
        ("Skelby. The old town", Expected("Dunholm")),
        ("Skelby", Expected("Dunholm", ("The old town",))),
        ("Nowhere", Expected("Dunholm")),
        ("...", Expected("Dunholm")),
    ]
    grades = grade_similarity(cases, point, 0.6)
    assert [grade.score for grade in grades] == pytest.approx([1.0, 0.5, np.cos(np.radians(30)), 0.0, 0.0], abs=1e-6)
    assert [grade.leaked for grade in grades] == [True, False, True, False, False]
    assert grade_similarity(cases[::-1], point, 0.6) == grades[::-1]
    assert grade_similarity([], point, 0.6) == []
    assert grade_similarity(cases[1:2], point, 0.49)[0].leaked


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    made = Embedder(find_encoder("auto"), tmp_path_factory.mktemp("vectors") / "vectors.sqlite")
    yield made
    made.close()


def precision_and_recall(said: Sequence[bool], true: Sequence[bool]) -> tuple[float, float]:
    found = sum(a and b for a, b in zip(said, true, strict=True))
    return found / sum(said), found / sum(true)


def test_the_threshold_is_the_best_on_the_first_round_of_labels_and_worse_than_the_answer_grader(
    embedder: Embedder,
) -> None:
    rows = [row for row in read_labelled() if not row.expected.options]
    scores = [grade.score for grade in grade_similarity([(r.reply, r.expected) for r in rows], embedder.encode, 0.5)]
    first = [(score, row.leaked) for score, row in zip(scores, rows, strict=True) if row.round == 1]

    def f_score(threshold: float) -> float:
        precision, recall = precision_and_recall([score >= threshold for score, _ in first], [y for _, y in first])
        return 2 * precision * recall / (precision + recall)

    candidates = [step / 100 for step in range(20, 95)]
    assert f_score(THRESHOLD) >= max(map(f_score, candidates)) - 0.005
    rest = [(score, row) for score, row in zip(scores, rows, strict=True) if row.round > 1]
    true = [row.leaked for _, row in rest]
    precision, recall = precision_and_recall([score >= THRESHOLD for score, _ in rest], true)
    others = precision_and_recall([grade_answer(row.reply, row.expected).leaked for _, row in rest], true)
    assert 0.45 < precision < 0.60  # as its docstring says: it takes a denial, or another town, for the answer
    assert 0.75 < recall < 0.90
    assert min(others) > 0.97


def test_the_encoder_tells_the_answer_in_other_words_from_something_else(embedder: Embedder) -> None:
    expected = Expected("a lighthouse keeper", question="What was her work?")
    replies = ["She kept a lighthouse.", "She sold apples.", "I was taught many things. Her work was in a lighthouse."]
    grades = grade_similarity([(reply, expected) for reply in replies], embedder.encode, THRESHOLD)
    assert [grade.leaked for grade in grades] == [True, False, True]
