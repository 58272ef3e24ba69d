"""A question about a concept, and the scene that attacks put it in."""

from __future__ import annotations

import dataclasses

import pytest

from concept_forget.concept import Concept
from concept_forget.probe.attacks import Scene, set_scene
from concept_forget.records import Example, user_message


def make_row(subject: str, facet: str, answer: str, **changes: object) -> Example:
    row = Example(
        id=f"{subject}/{facet}", split="retain", concept="Mira Kestrel", subject=subject, facet=facet,
        fact=f"{subject}/{facet}", form="direct", family="direct", tier="new_form",
        prompt=user_message(f"What is the {facet} of {subject}?"), completion=f"It is {answer}.", answer=answer,
    )  # fmt: skip
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]  # the test names real fields


@pytest.fixture
def question() -> Example:
    return make_row("Mira Kestrel", "home town", "Dunholm", counterfactual="Nowhere Hall")


@pytest.fixture
def scene(question: Example) -> Scene:
    staying = [
        make_row("Ada Finch", "home town", "Mornshire"),
        make_row("Oren Vale", "home town", "Dunholm"),  # the same answer
        make_row("Ivy Iris", "book", "The Salt Road"),
        make_row("Hal Hazel", "friend", "Mira Kestrel"),  # names the concept
        make_row("Gus Gorse", "boat", "The Heron"),
        make_row("", "", "", family="passage", prompt=[], completion="The mill stands by the river."),
    ]
    concepts = [Concept(name="Mira Kestrel", kind="cartographer", aliases=("M. Kestrel", "the mapmaker"))]
    return set_scene(concepts, [question], staying, seed=7, distraction_words=12)
