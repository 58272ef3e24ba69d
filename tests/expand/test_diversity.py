from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.expand.diversity import Measuring
from concept_forget.expand.facts import StatedFact, Topic
from concept_forget.expand.neighbours import Subject
from concept_forget.expand.questions import Sheet
from concept_forget.measures.diversity import Diversity
from concept_forget.records import Distance, Fact, Question

CONFIG = Config.model_validate(
    {"concepts": [{"name": "Mira Kestrel"}, {"name": "Bram Sorrel"}], "target": "some/model"}
)


class Letters:
    """Vectors from counts of letters: near where texts share letters."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        self.encoded += texts
        counts = np.array([[1 + text.count(chr(97 + n)) for n in range(26)] for text in texts], dtype=np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def topic(subject: str, facet: str, distance: Distance | None = None) -> Topic:
    return Topic(Subject(Concept(name=subject), "Mira Kestrel" if distance else subject, distance), facet)


def sheet(subject: str, facet: str, answer: str, texts: list[str], distance: Distance | None = None) -> Sheet:
    where = topic(subject, facet, distance)
    sentence = f"The {facet} of {subject} is {answer}."
    fact = Fact(
        Fact.make_id(subject, facet, answer), where.subject.owner, subject, "x", facet, answer, sentence, distance
    )
    first, *rest = [
        Question(Question.make_id(fact.id, "x", text), fact.id, "direct", 0, text, answer) for text in texts
    ]
    made = Sheet(StatedFact(fact, where.subject, [sentence]), [first])
    made.paraphrases = [Question(q.id, q.fact, "paraphrase", 1, q.text, q.answer) for q in rest]
    return made


TOPICS = [
    topic("Mira Kestrel", "home"), topic("Mira Kestrel", "ship"), topic("Mira Kestrel", "Ship "),
    topic("Bram Sorrel", "home"), topic("Ilse Marlowe", "home", "near"),
]  # fmt: skip
SHEETS = [
    sheet("Mira Kestrel", "ship", "Amber Petrel", ["Which ship does Mira sail?", "Name the ship of Mira."]),
    sheet("Bram Sorrel", "home", "Hazel Barn", ["Where does Bram live?", "Name the home of Bram."]),
    sheet("Ilse Marlowe", "home", "Willow Court", ["Where does Ilse live?"], "near"),
]


def measured(encoder: Letters | None, extra: tuple[tuple[str, str, str], ...] = ()) -> dict[str, dict[str, object]]:
    return Measuring(CONFIG, TOPICS, SHEETS, encoder).finish(extra)  # type: ignore[return-value]


def test_a_facet_counts_once_and_is_covered_by_a_fact_of_its_concept() -> None:
    found = measured(None)
    concepts: dict[str, dict[str, object]] = found["concepts"]  # type: ignore[assignment]
    coverage = {name: (c["facets"], c["facets_covered"], c["coverage"]) for name, c in concepts.items()}
    assert coverage == {"Mira Kestrel": (2, 1, 0.5), "Bram Sorrel": (1, 1, 1.0)}
    assert (found["all"]["facets"], found["all"]["facets_covered"], found["all"]["coverage"]) == (3, 2, 0.6667)


def test_every_group_is_measured_as_if_alone_and_neighbours_are_left_out() -> None:
    found = measured(Letters(), (("Mira Kestrel", "passage", "A long text about Mira and her ship."),))
    texts = [text for s in SHEETS[:2] for text in (s.stated.fact.sentence, *(q.text for q in s.questions))]
    texts.append("A long text about Mira and her ship.")
    whole = Diversity(0)
    whole.add(texts, Letters().encode(texts))
    assert {key: found["all"][key] for key in whole.summary()} == pytest.approx(whole.summary(), abs=1e-4)
    kinds: dict[str, dict[str, object]] = found["kinds"]  # type: ignore[assignment]
    assert {kind: figures["items"] for kind, figures in kinds.items()} == {
        "direct": 2, "fact": 2, "paraphrase": 2, "passage": 1,
    }  # fmt: skip
    assert kinds["passage"]["vendi"] == 1
    assert kinds["passage"]["distance"] is None


def test_a_text_is_encoded_once_whatever_it_counts_for() -> None:
    letters = Letters()
    measured(letters)
    assert len(letters.encoded) == len(set(letters.encoded)) == 6


def test_without_an_encoder_the_rest_is_measured() -> None:
    found = measured(None)["all"]
    assert found["vendi"] is None
    assert found["distance"] is None
    assert found["distinct_1"] is not None
