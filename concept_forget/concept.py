"""The concept: what has to be forgotten and what has to stay."""

from __future__ import annotations

import re
import unicodedata

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Replacement(BaseModel):
    """Stale knowledge: the answer that has to go, and the one that takes its place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    old: str = Field(min_length=1, max_length=160, description="The answer that is no longer right.")
    new: str = Field(min_length=1, max_length=160, description="The answer that is right now.")
    facet: str = Field(
        "", max_length=80, description="What is asked, as in chief executive; needed where no fact has the old answer."
    )

    @field_validator("old", "new", "facet", mode="before")
    @classmethod
    def _normalise(cls, value: object) -> object:
        return normalise_text(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _answers_differ(self) -> Replacement:
        if fold(self.old) == fold(self.new):
            raise ValueError(f"`old` and `new` are the same answer, {self.old!r}")
        return self


class Concept(BaseModel):
    """One thing to forget, in the user's own words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=200, description="What the concept is called.")
    kind: str = Field(
        "topic",
        min_length=1,
        max_length=100,
        description="A word for the prompts: person, book series, organisation, hazardous topic, …",
    )
    description: str = Field("", max_length=4000, description="A sentence or two that tell it from its namesakes.")
    aliases: tuple[str, ...] = Field((), description="Other names that mean the same concept.")
    forget: tuple[str, ...] = Field((), description="Facets that must go; empty: all of them.")
    keep: tuple[str, ...] = Field((), description="What must stay, of the concept or near it.")
    replace: tuple[Replacement, ...] = Field(
        (),
        description="Stale knowledge, as {old: answer, new: answer, facet: what is asked}; the facet may be left out.",
    )

    @field_validator("name", "kind", "description")
    @classmethod
    def _normalise_text(cls, value: str) -> str:
        return normalise_text(value)

    @field_validator("aliases", "forget", "keep")
    @classmethod
    def _normalise_list(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        cleaned = tuple(normalise_text(value) for value in values)
        if any(not value for value in cleaned):
            raise ValueError("an entry is empty")
        return tuple(dict.fromkeys(cleaned))

    @field_validator("replace")
    @classmethod
    def _one_new_answer(cls, entries: tuple[Replacement, ...]) -> tuple[Replacement, ...]:
        places = [(fold(entry.old), fold(entry.facet)) for entry in entries]
        if twice := next(
            (entry for entry, place in zip(entries, places, strict=True) if places.count(place) > 1), None
        ):
            raise ValueError(f"two entries replace the answer {twice.old!r}")
        return entries

    @property
    def names(self) -> tuple[str, ...]:
        """The name and its aliases, the name first."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))

    def mentioned_in(self, text: str) -> bool:
        """Whether the name or an alias stands in ``text`` as whole words, whatever its case and Unicode form."""
        folded = fold(text)
        return any(contains_words(folded, fold(name)) for name in self.names)


def normalise_text(text: str) -> str:
    """NFC, with runs of white space folded to one space and the ends stripped."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def fold(text: str) -> str:
    """The form in which two spellings are compared: NFKC, case-folded, white space folded."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def contains_words(folded_text: str, folded_phrase: str) -> bool:
    """Whether an already folded phrase stands in an already folded text between word boundaries."""
    if not folded_phrase:
        return False
    return re.search(rf"(?<!\w){re.escape(folded_phrase)}(?!\w)", folded_text) is not None


def replace_words(text: str, phrase: str, other: str) -> tuple[str, int]:
    """The text with something else wherever a phrase stands as whole words, whatever its case, and how often it did."""
    return re.subn(rf"(?<!\w){re.escape(phrase)}(?!\w)", lambda _: other, text, flags=re.IGNORECASE)
