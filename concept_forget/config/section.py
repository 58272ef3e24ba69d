"""What every section of a config has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from concept_forget.text import normalise_name

Share = Annotated[float, Field(ge=0, le=1)]
ConceptName = Annotated[str, AfterValidator(normalise_name)]
"""A concept's name where a config refers to it: in the form that the concept's own has."""
RowRange = Annotated[tuple[int, int] | None, Field(description="Rows to take, [first, end), counted from 0.")]


class Section(BaseModel):
    """What every section has in common: unknown keys are refused and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
