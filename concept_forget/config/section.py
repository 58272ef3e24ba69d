"""What every section of a config has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
RowRange = Annotated[tuple[int, int] | None, Field(description="Rows to take, [first, end), counted from 0.")]


class Section(BaseModel):
    """What every section has in common: unknown keys are refused and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
