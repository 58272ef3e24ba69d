"""What every section of a config has in common."""

from __future__ import annotations

import typing
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from concept_forget.text import normalise_name

Share = Annotated[float, Field(ge=0, le=1)]
ConceptName = Annotated[str, AfterValidator(normalise_name)]
"""A concept's name where a config refers to it: in the form that the concept's own has."""
RowRange = Annotated[tuple[int, int] | None, Field(description="Rows to take, [first, end), counted from 0.")]


class Section(BaseModel):
    """What every section has in common: unknown keys are refused and values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _bare_headers_are_defaults(cls, values: Any) -> Any:
        """A key with nothing below it, where sections or lists belong, is as good as none."""
        if not isinstance(values, dict) or None not in values.values():
            return values
        fields = {field.alias or name: field for name, field in cls.model_fields.items()}
        return {
            key: value for key, value in values.items() if value is not None or not _may_stand_bare(fields.get(key))
        }


def _may_stand_bare(field: FieldInfo | None) -> bool:
    """Whether a key has a section, list or mapping as its default, and null means nothing else to it."""
    if field is None or type(None) in typing.get_args(field.annotation):
        return False
    return isinstance(field.get_default(call_default_factory=True), (Section, tuple, dict))
