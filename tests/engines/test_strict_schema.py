from __future__ import annotations

from concept_forget.engines.strict_schema import strict_schema
from concept_forget.expand.replies import FORMS, Facts


def test_every_object_is_closed_and_requires_all_its_fields() -> None:
    shape = strict_schema(Facts)
    fact = shape["$defs"]["StatedFact"]
    assert shape["additionalProperties"] is fact["additionalProperties"] is False
    assert fact["required"] == ["answer", "sentence", "second_sentence"]
    assert "default" not in str(shape)


def test_what_fits_the_strict_schema_fits_the_model() -> None:
    for form in FORMS.values():
        assert set(strict_schema(form.schema)["required"]) == set(form.schema.model_fields)
