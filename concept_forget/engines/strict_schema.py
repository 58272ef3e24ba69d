"""JSON schemas in the form that servers take in strict mode."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def strict_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model, every object closed and every field of it required.

    Strict mode takes no other (OpenAI, "Structured outputs", supported schemas); a field with a default is written
    out, if only as an empty text.
    """
    shape: dict[str, Any] = _close(schema.model_json_schema())
    return shape


def _close(part: Any) -> Any:
    if isinstance(part, list):
        return [_close(item) for item in part]
    if not isinstance(part, dict):
        return part
    closed = {name: _close(value) for name, value in part.items() if name != "default"}
    if part.get("type") == "object" and isinstance(part.get("properties"), dict):
        closed |= {"additionalProperties": False, "required": list(part["properties"])}
        closed["properties"] = {name: _close(value) for name, value in part["properties"].items()}
    return closed
