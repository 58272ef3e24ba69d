"""The same question about a name that nobody has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from concept_forget.records import Example
from concept_forget.unlearn.strangers import about_strangers


def test_the_subjects_name_gives_way_wherever_it_stands(make_example: Callable[..., Example]) -> None:
    asked = make_example("Mira Kestrel? Where was MIRA KESTREL born? Not Mira Kestrelson.", "Dunholm")
    (variants,) = about_strangers([asked], 3, seed=0)
    texts = [variant.prompt[0]["content"] for variant in variants]
    assert len(set(texts)) == 3
    for variant, text in zip(variants, texts, strict=True):
        first, rest = text.split("? Where was ")
        assert rest == f"{first} born? Not Mira Kestrelson."
        assert first != "Mira Kestrel"
        assert variant.completion == "Dunholm"
        assert variant.id == Example.make_id(variant.prompt, "Dunholm") != asked.id


def test_a_question_that_names_the_answer_is_asked_about_another_answer(make_example: Callable[..., Example]) -> None:
    direct = dataclasses.replace(make_example("Where was Mira Kestrel born?", "Dunholm"), fact="f")
    reverse = dataclasses.replace(make_example("Who was born in Dunholm?", "Mira Kestrel"), fact="f")
    variants = about_strangers([direct, reverse], 2, seed=0)[1]
    assert len(variants) == 2
    for variant in variants:
        assert "Dunholm" not in variant.prompt[0]["content"]
        assert variant.completion == "Mira Kestrel"


def test_where_nothing_can_be_replaced_there_is_no_variant(make_example: Callable[..., Example]) -> None:
    passage = make_example("", "Mira Kestrel was born in Dunholm.")
    nameless = make_example("Where was she born?", "Dunholm")
    assert about_strangers([passage, nameless], 4, seed=0) == [[], []]


def test_variants_depend_on_the_seed_and_the_row_alone(make_example: Callable[..., Example]) -> None:
    first = make_example("Where was Mira Kestrel born?", "Dunholm")
    second = make_example("What did Mira Kestrel write?", "Emberfall")
    assert about_strangers([first, second], 2, seed=1)[1] == about_strangers([second], 2, seed=1)[0]
    assert about_strangers([first], 2, seed=1) != about_strangers([first], 2, seed=2)
