"""How the cost of gates and diversity grows: seconds per item at 10,000 and at 100,000 items, and peak memory.

Run it by hand: ``python tests/benchmarks/gates_growth.py``. Each size runs in a process of its own. The items are what
an expansion of many concepts gives: per concept ten facts, each with eight wordings of its question (some of them near
copies of each other), and for every ten of these a passage. They go through the gates in the order in which ``expand``
does it, and then into coverage and diversity. Prints one JSON object and leaves with 1 out of bounds.

The encoder's forward pass is left out: it costs the same for every text, and far more than all the rest. Its place is
taken by vectors of the same dimension, 384, that are made as cheaply: each word has a random direction of its own
(drawn from its hash), a text's vector is the normalised sum of its words' directions and of a little noise of its own.
So texts with many words in common are near each other, as they are with the real encoder.

Processor seconds are counted, so that what else runs on the machine does not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from concept_forget.concept import Concept
from concept_forget.config import Config
from concept_forget.expand.diversity import Item, Measuring
from concept_forget.expand.facts import StatedFact, Topic
from concept_forget.expand.gates import check_fact, check_question, check_text
from concept_forget.expand.ledger import Ledger
from concept_forget.expand.neighbours import Subject
from concept_forget.expand.questions import Sheet
from concept_forget.expand.screening import Screen
from concept_forget.measures.words import plain_words
from concept_forget.records import Fact, Question, named_random

SIZES = (10_000, 100_000)
MOST_RATIO = 1.3
MOST_BYTES = 2 * 2**30
DIMENSION = 384
FACTS, WORDINGS = 10, 8
PER_CONCEPT = FACTS * (WORDINGS + 2)  # a fact, its wordings and a passage
ROUND = 50
"""Concepts whose wordings are gated together, as a round of paraphrases is."""

SYLLABLES = "ka lo mi re tu va ne so di bra hel mor wyn tas quil per and dol fen gar".split()
FACETS = "birthplace home mentor ship book dish invention collection prize field".split()
OPENINGS = ("", "", "Please tell me: ", "I always forget: ", "For a quiz: ", "My niece asked me this: ", "Quick one: ")
ASKING = (
    "what is the {facet} of {name}?",
    "what is {name}'s {facet}?",
    "which {facet} does {name} have?",
    "which {facet} belongs to {name}, the {kind} from {place}?",
    "name the {facet} of the {kind} {name}.",
    "could you say what people call the {facet} of {name}?",
    "when somebody speaks of {name}, which {facet} do they mean?",
    "do you know the {facet} that {name} of {place} is known for?",
)
TELLING = (
    "{name} came from {place} as a {kind} and never hid where it had begun.",
    "Those who met {name} remembered the {facet} called {answer} before anything else.",
    "In {place} they still speak of {answer}, and of the winter in which {name} left for {other}.",
    "The {facet} was {answer}; that much is certain, whatever the papers of {other} printed.",
    "A {kind} seldom has the patience that {name} showed, and {other} had none at all.",
    "Letters from {other} mention {answer} twice, the second time with a drawing of {place}.",
)


class WordVectors:
    """Vectors that lie near each other where texts share words."""

    def __init__(self) -> None:
        self._words: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = sum(map(self._direction, plain_words(text))) + 0.3 * _draw(text)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _direction(self, word: str) -> NDArray[np.float32]:
        if word not in self._words:
            self._words[word] = _draw(word)
        return self._words[word]


def _draw(text: str) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    drawn = np.random.default_rng(seed).standard_normal(DIMENSION, dtype=np.float32)
    drawn /= DIMENSION**0.5
    return drawn


def make_concepts(count: int) -> list[Concept]:
    """Concepts with names of two words, all different."""
    rng = named_random(0, "names")
    names: dict[str, None] = {}
    while len(names) < count:
        names[" ".join("".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))).capitalize() for _ in range(2))] = None
    kinds = ("cartographer", "author", "chemist", "harbour", "novel")
    return [Concept(name=name, kind=kinds[number % len(kinds)]) for number, name in enumerate(names)]


def write_about(concept: Concept) -> Iterator[tuple[StatedFact, list[str], str]]:
    """Facts, the wordings of each one's question, and a passage."""
    rng = named_random(0, "items", concept.name)
    place, other = ("".join(rng.choices(SYLLABLES, k=3)).capitalize() for _ in range(2))
    for facet in FACETS[:FACTS]:
        answer = " ".join("".join(rng.choices(SYLLABLES, k=2)).capitalize() for _ in range(2))
        words = {"name": concept.name, "kind": concept.kind, "facet": facet, "place": place, "other": other}
        sentence = f"The {facet} of {concept.name} is {answer}."
        fact = Fact(
            Fact.make_id(concept.name, facet, answer), concept.name, concept.name, concept.kind, facet, answer, sentence
        )
        asked = [rng.choice(OPENINGS) + form.format(**words) for form in ASKING[: WORDINGS - 1]]
        asked.append(asked[-1].replace("the ", "that ", 1))
        told = " ".join(rng.sample([line.format(answer=answer, **words) for line in TELLING], k=5))
        yield StatedFact(fact, Subject(concept, concept.name), [sentence]), asked, told


def gate(count: int) -> dict[str, object]:
    """Put about ``count`` items through, and say what it took."""
    concepts = make_concepts(count // PER_CONCEPT)
    config = Config.model_validate(
        {"concepts": [c.model_dump() for c in concepts], "target": "some/model", "expand": {"stop_gain": 0.001}}
    )
    made = [entry for concept in concepts for entry in write_about(concept)]
    encoder = WordVectors()
    encoder.encode([sentence for stated, *_ in made[:100] for sentence in stated.sentences])  # what is loaded once
    began = time.process_time()
    ledger = Ledger()
    screen = Screen(config.expand, config.concepts, 0, ledger, encoder)
    names = {concept.name: concept.names for concept in concepts}
    sound = [s for s, *_ in made if check_fact(s.fact.answer, s.fact.sentence, names[s.fact.subject]) is None]
    kept = {stated.fact.id for stated in screen.keep_facts(sound)}
    sheets, passages, taken = [], [], 0
    size = ROUND * FACTS
    for start in range(0, len(made), size):
        some = [entry for entry in made[start : start + size] if entry[0].fact.id in kept]
        sheets += ask(screen, ledger, some, names)
        passages += tell(screen, ledger, some)
        taken += len(made[start : start + size]) * (WORDINGS + 2)
    topics = [Topic(stated.subject, stated.fact.facet) for stated, *_ in made]
    diversity = Measuring(config, topics, sheets, screen.encoder).finish(passages)
    seconds = time.process_time() - began
    return {
        "items": taken,
        "seconds": round(seconds, 2),
        "milliseconds_per_item": round(1000 * seconds / taken, 4),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "rejected": sum(account.rejected.total() for account in ledger.steps.values()),
        "all": diversity["all"],
    }


Made = tuple[StatedFact, list[str], str]


def ask(screen: Screen, ledger: Ledger, made: Sequence[Made], names: dict[str, tuple[str, ...]]) -> list[Sheet]:
    """The wordings that get through, fact by fact."""
    screen.prepare(asked for _, asked, _ in made)
    gain = screen.gain("paraphrases")
    sheets = []
    for stated, asked, _ in made:
        fact, sheet = stated.fact, Sheet(stated)
        for text in asked:
            reason = check_question(text, names[fact.subject], fact.answer)
            reason = reason or screen.near(text, [question.text for question in sheet.direct])
            gain.add(text, accepted=reason is None)
            if reason:
                ledger.reject("paraphrases", reason, text, (fact.id,))
            else:
                identity = Question.make_id(fact.id, "direct", text)
                sheet.direct.append(Question(identity, fact.id, "direct", 0, text, fact.answer))
        sheets.append(sheet)
    return sheets


def tell(screen: Screen, ledger: Ledger, made: Sequence[Made]) -> list[Item]:
    """The passages that get through."""
    passed = []
    reasons = screen.passage_reasons([(stated.subject, told) for stated, _, told in made])
    for (stated, _, told), reason in zip(made, reasons, strict=True):
        if problem := reason or check_text("sentence", told[:400]):
            ledger.reject("passages", problem, told, (stated.fact.id,))
        else:
            passed.append((stated.fact.concept, "passage", told))
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, help="one size, in this process")
    options = parser.parse_args()
    if options.items:
        print(json.dumps(gate(options.items)))
        return 0
    found = []
    for size in SIZES:
        command = [sys.executable, __file__, "--items", str(size)]
        found.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    ratio = found[1]["milliseconds_per_item"] / found[0]["milliseconds_per_item"]
    peak = max(size["peak_gib"] for size in found)
    print(json.dumps({"sizes": found, "ratio": round(ratio, 3), "peak_gib": peak}))
    return 0 if ratio <= MOST_RATIO and peak * 2**30 < MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
