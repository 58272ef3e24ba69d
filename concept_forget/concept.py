"""The concept: what has to be forgotten and what has to stay."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from concept_forget.text import (
    contains_words,
    fold,
    is_visible,
    normalise_name,
    normalise_text,
    replace_each,
    replace_words,
)

__all__ = ["Concept", "Replacement", "contains_words", "fold", "normalise_text", "replace_each", "replace_words"]


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

    @field_validator("kind", "description")
    @classmethod
    def _normalise_text(cls, value: str) -> str:
        return normalise_text(value)

    @field_validator("name", mode="before")
    @classmethod
    def _normalise_name(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        name = normalise_name(value)
        if not is_visible(name):
            raise ValueError("the name holds nothing that can be seen")
        return name

    @field_validator("aliases")
    @classmethod
    def _normalise_aliases(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(normalise_name(value) for value in values)
        if not all(map(is_visible, names)):
            raise ValueError("an entry holds nothing that can be seen")
        return tuple(dict.fromkeys(names))

    @field_validator("forget", "keep")
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
