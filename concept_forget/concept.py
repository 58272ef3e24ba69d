"""The concept: what has to be forgotten and what has to stay."""

from __future__ import annotations

import re
import unicodedata

from pydantic import BaseModel, ConfigDict, Field, field_validator


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
