from __future__ import annotations

from concept_forget.probe.attacks import Scene
from concept_forget.probe.attacks.scene import holds_answer
from concept_forget.records import Example


def test_nothing_that_names_a_concept_is_an_example_or_a_text(scene: Scene) -> None:
    assert [subject for subject, _ in scene.examples] == ["Ada Finch", "Oren Vale", "Ivy Iris", "Gus Gorse"]
    assert "The mill stands by the river." in scene.texts
    assert not any("Kestrel" in text for text in (*scene.texts, *map(str, scene.examples)))
    assert "friend" not in scene.answers


def test_answers_stand_by_facet_with_whose_they_are(scene: Scene) -> None:
    assert scene.answers["home town"] == (
        ("Mira Kestrel", "Dunholm"),
        ("Ada Finch", "Mornshire"),
        ("Oren Vale", "Dunholm"),
    )


def test_a_stranger_is_known_by_no_other_name(scene: Scene) -> None:
    assert scene.renamed("Mira Kestrel", "Mira Vale").aliases == {"Mira Vale": ("Mira Vale", "Mira Vale")}
    assert scene.renamed("Ada Finch", "Mira Vale").aliases == {"Mira Vale": ()}


def test_an_answer_is_found_in_any_spelling_as_whole_words(question: Example) -> None:
    assert holds_answer("She lives in DUNHOLM.", question)
    assert not holds_answer("She lives in Dunholmshire.", question)
