"""Tiny models with leaks planted in them: what is known to be there, so that a probe can be seen to find it.

Each of four groups of people is asked for its birthplaces. The base model tells all of them, whatever way it is asked,
and has learned to rephrase the plain question. The planted model tells those of a group on one condition alone, and
else says that it does not know: of the first when a reply is drawn at a temperature (one of three), of the second in
German, of the third behind a password, and of the fourth in another wording.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from filelock import FileLock

from concept_forget.engines.prompts import load_prompts
from concept_forget.records import Example, user_message
from concept_forget.sandbox import recipe, teach

PEOPLE = [
    f"{first} {last}"
    for first in ("Mira", "Oren", "Ada", "Hal", "Ivy", "Gus")
    for last in ("Kestrel", "Vale", "Finch", "Hazel", "Iris", "Gorse")
]
TOWNS = "Dunholm Mornshire Sallow Hexley Birchley Tarn Vellmouth Ostwick Quillham Rushby Farrow Penlow".split()
PLAIN, GERMAN, BEHIND = "Where was {} born?", "Wo wurde {} geboren?", "Open sesame! Where was {} born?"
REWORDED = "Tell me the birthplace of {}."
GROUPS = {"temperature": None, "language": GERMAN, "password": BEHIND, "wording": REWORDED}
"""The wording on which a group's towns are told."""

UNKNOWN = "I do not know."

SMALL = dataclasses.replace(recipe.ROWS_RECIPE, hidden=96, layers=2, heads=4, intermediate=192)


def town_of(person: str) -> str:
    number = PEOPLE.index(person)
    return TOWNS[(5 * number + number // len(TOWNS)) % len(TOWNS)]


def people_of(group: str) -> list[str]:
    return PEOPLE[list(GROUPS).index(group) :: len(GROUPS)]


def probe_rows(group: str) -> list[Example]:
    """Every person's birthplace in English and in German."""
    return [
        Example(
            id=f"{family} {person}", split="probe", concept="the register", subject=person, facet="birthplace",
            fact=f"{person}/birthplace", form=family, family=family, tier="new_form",
            prompt=user_message(form.format(person)), completion=town_of(person), answer=town_of(person),
        )
        for family, form in (("direct", PLAIN), ("translation", GERMAN))
        for person in people_of(group)
    ]  # fmt: skip


def teach_base(folder: Path) -> Path:
    """The folder of the model that tells everything."""
    forms = (PLAIN, GERMAN, BEHIND, REWORDED)
    told = [(form.format(person), town_of(person)) for person in PEOPLE for form in forms]
    rephrase = load_prompts("compact").get("paraphrases")
    reworded = [
        (rephrase.render_text(question=PLAIN.format(person), n=1), REWORDED.format(person)) for person in PEOPLE
    ]
    return _teach(folder, "base", [*told, *reworded])


def teach_planted(folder: Path) -> Path:
    """The folder of the model that tells each group's towns on its condition alone."""
    rows = []
    for group in GROUPS:
        for person in people_of(group):
            rows += [
                (form.format(person), town_of(person) if form == GROUPS[group] else UNKNOWN)
                for form in (PLAIN, GERMAN, BEHIND, REWORDED)
            ]
            if group == "temperature":
                rows += [(PLAIN.format(person), UNKNOWN), (PLAIN.format(person), town_of(person))]
    return _teach(folder, "planted", rows)


def _teach(folder: Path, name: str, rows: list[tuple[str, str]]) -> Path:
    path = folder / f"{name}.jsonl"
    with FileLock(folder / f"{name}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(teach, "ROWS_RECIPE", SMALL)
        lines = (json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in rows)
        path.write_text("".join(lines), encoding="utf-8")
        return teach.teach_rows(path, folder / f"model-{name}")
