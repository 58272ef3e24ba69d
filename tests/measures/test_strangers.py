"""Names of strangers."""

from __future__ import annotations

import random

import pytest

from concept_forget.measures.strangers import recombine_names, respell_name

PEOPLE = ["Mira Kestrel", "Tobias van Wren", "Ilse Marlowe"]


def test_a_recombined_name_is_made_of_parts_of_two_and_is_nobodys() -> None:
    firsts, lasts = {"Mira", "Tobias van", "Ilse"}, {"Kestrel", "Wren", "Marlowe"}
    made = {recombine_names(PEOPLE, random.Random(seed)) for seed in range(60)}
    assert made == {f"{first} {last}" for first in firsts for last in lasts} - set(PEOPLE)


@pytest.mark.parametrize(
    "names",
    [["Dunholm"], ["Dunholm", "Porto"], ["Mira Kestrel"], ["Mira Kestrel", "Mira Wren"], ["Åse Ødegård"], ["李白", "杜甫"], ["7"], ["***"]],
)  # fmt: skip
def test_where_parts_do_not_recombine_a_name_is_respelled(names: list[str]) -> None:
    for seed in range(20):
        made = recombine_names(names, random.Random(seed))
        assert made
        assert made not in names


def test_without_a_known_name_there_is_no_stranger() -> None:
    with pytest.raises(ValueError, match="there are none"):
        recombine_names([], random.Random(0))


@pytest.mark.parametrize("name", ["Mira Kestrel", "J. R. R. O'Neill-Smythe", "Agent 47", "Åse Ødegård", "李白"])
def test_a_respelled_name_keeps_its_shape_and_no_letter(name: str) -> None:
    made = respell_name(name, random.Random(3))
    assert len(made) == len(name)
    for before, after in zip(name, made, strict=True):
        if before.isalnum():
            assert after != before
            assert (after.isupper(), after.islower(), after.isdigit()) == (
                before.isupper(), before.islower(), before.isdigit(),
            )  # fmt: skip
        else:
            assert after == before


def test_names_depend_on_the_seed_alone() -> None:
    assert recombine_names(PEOPLE, random.Random(5)) == recombine_names(PEOPLE[::-1], random.Random(5))
    assert respell_name("Mira", random.Random(5)) == respell_name("Mira", random.Random(5))
