"""Wrong answers: where they come from, and that none of them is right."""

from __future__ import annotations

import dataclasses

from concept_forget.probe.white_box.wrong_answers import WrongAnswers, put
from concept_forget.records import Example, user_message

HOME = Example(
    id="home", split="probe", concept="Mira Kestrel", subject="Mira Kestrel", facet="home", fact="home", form="direct",
    family="direct", tier="new_form", prompt=user_message("Where?"), completion="She lives in Gull Cottage.",
    answer="Gull Cottage", aliases=("the Cottage",), counterfactual="Tern House",
)  # fmt: skip
CHOICE = dataclasses.replace(
    HOME, id="choice", family="choice", options=("Tern House", "the cottage", "Gull Cottage", "Reed Hall", "Oak Barn")
)


def neighbour(name: str, answer: str, facet: str = "Home") -> Example:
    return dataclasses.replace(
        HOME, id=name, split="collateral", subject=name, facet=facet, fact=f"{name} {facet}", tier="near",
        completion=answer, answer=answer, aliases=(), counterfactual="",
    )  # fmt: skip


STAYING = [neighbour(name, f"{name} House") for name in ("Ada", "Oren", "Bram", "Ilse", "Emil")]


def test_options_come_first_without_the_right_one_and_in_the_form_of_the_reply() -> None:
    found = WrongAnswers([HOME, CHOICE], STAYING, 0).of(HOME)
    assert found == ("She lives in Tern House.", "She lives in Reed Hall.", "She lives in Oak Barn.")


def test_then_the_counterfactual_and_then_other_subjects_answers() -> None:
    assert WrongAnswers([HOME], STAYING, 0).of(HOME) == ("She lives in Tern House.",)
    bare = dataclasses.replace(HOME, counterfactual="")
    found = WrongAnswers([bare], [*STAYING, neighbour("Nobody", "the cottage"), neighbour("Ada", "Tea", "drink")], 0)
    drawn = found.of(bare)
    assert len(set(drawn)) == 3
    assert {text.removeprefix("She lives in ").removesuffix(" House.") for text in drawn} < {
        "Ada", "Oren", "Bram", "Ilse", "Emil",
    }  # fmt: skip
    assert found.of(bare) == drawn


def test_a_neighbours_own_other_answers_are_not_wrong() -> None:
    twice = [neighbour("Ada", "Ada House"), neighbour("Ada", "Reed Hall"), neighbour("Oren", "Oak Barn")]
    assert WrongAnswers([], twice, 0).of(twice[0]) == ("Oak Barn",)
    assert WrongAnswers([], twice[:2], 0).of(twice[0]) == ()


def test_without_the_answer_in_the_reply_nothing_can_be_put_there() -> None:
    vague = dataclasses.replace(HOME, completion="By the sea.")
    assert put(vague, "Tern House") is None
    assert put(dataclasses.replace(HOME, answer=""), "Tern House") is None
    assert WrongAnswers([vague, CHOICE], STAYING, 0).of(vague) == ()
    assert put(HOME, r"\1 of it") == r"She lives in \1 of it."
