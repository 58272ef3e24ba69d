"""The tables of settings in the documentation, made from the pydantic models of ``concept_forget.config``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from concept_forget.concept import Concept, Replacement
from concept_forget.config import (
    CompareConfig,
    ComposeConfig,
    Config,
    CorpusSource,
    DataConfig,
    ExecutionConfig,
    ExpandConfig,
    GeneratorConfig,
    MineConfig,
    ModelChoice,
    ProbeConfig,
    ReportConfig,
    RowFile,
    UnlearnConfig,
)
from tests.docs.markdown import code, table

SECTIONS: dict[str, type[BaseModel]] = {
    "run": Config,
    "concept": Concept,
    "replace": Replacement,
    "target": ModelChoice,
    "generator": GeneratorConfig,
    "corpus": CorpusSource,
    "data": DataConfig,
    "rows": RowFile,
    "expand": ExpandConfig,
    "mine": MineConfig,
    "compose": ComposeConfig,
    "unlearn": UnlearnConfig,
    "probe": ProbeConfig,
    "report": ReportConfig,
    "execution": ExecutionConfig,
    "compare": CompareConfig,
}
TOLD_ELSEWHERE = {
    "AttackerConfig": "as `generator`",
    "Concept": "a concept",
    "CorpusSource": "a source",
    "GeneratorConfig": "as `generator`",
    "ModelChoice": "as `target`",
    "Replacement": "a replacement",
    "RowFile": "a file of rows",
}
"""Sections that have a table of their own wherever another one holds them."""

MANY = 10
"""Choices from which on a cell does not list them: they have a table of their own."""

Schema = dict[str, Any]


def settings_table(section: str) -> str:
    """Key, what may stand there, default and description of every setting of a section, those within it included."""
    schema = SECTIONS[section].model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    if section == "run":  # its sections have pages of their own
        definitions = {name: {**part, "properties": {}} for name, part in definitions.items()}
    return table(("key", "takes", "default", "what it is"), list(_rows(schema, definitions, "")))


def _rows(schema: Schema, definitions: Schema, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        key, inner = prefix + name, _inner(field, definitions)
        about = field.get("description") or definitions.get(_name(field), {}).get("description", "")
        nested = inner is not None and bool(inner["properties"])
        if not nested or _takes_null(field):
            default = "required" if name in required else _default(field)
            yield code(key), _takes(field, definitions), default, about
        if nested and inner is not None:
            yield from _rows(inner, definitions, f"{key}.")


def _inner(field: Schema, definitions: Schema) -> Schema | None:
    """The section that stands under a key, unless it is told elsewhere."""
    for part in (field, *field.get("anyOf", ())):
        if (name := _name(part)) and name not in TOLD_ELSEWHERE:
            return dict(definitions[name])
    return None


def _name(field: Schema) -> str:
    """The section that a key refers to; empty where it is none."""
    return str(field.get("$ref", "")).rpartition("/")[2]


def _takes_null(field: Schema) -> bool:
    return {"type": "null"} in field.get("anyOf", ())


def _default(field: Schema) -> str:
    return code(json.dumps(field["default"], ensure_ascii=False)) if "default" in field else ""


def _takes(field: Schema, definitions: Schema) -> str:
    """In words, what a value may be."""
    if "anyOf" in field:
        return " or ".join(_takes(part, definitions) for part in field["anyOf"])
    if "$ref" in field:
        return TOLD_ELSEWHERE.get(_name(field), "a section")
    if "enum" in field:
        return "a name" if len(field["enum"]) > MANY else ", ".join(map(code, field["enum"]))
    if "const" in field:
        return code(str(field["const"]))
    kind = field.get("type")
    if kind == "array":
        return _takes_list(field, definitions)
    if kind == "object":
        inside = field.get("additionalProperties")
        keys = ", ".join(field.get("propertyNames", {}).get("enum", ())) or "name"
        values = (
            _takes(inside, definitions) if isinstance(inside, dict) and len(inside.get("anyOf", ())) < 3 else "value"
        )
        return f"{{{keys}: {values}}}"
    names = {"string": "path" if field.get("format") == "path" else "text", "boolean": "true or false", None: "value"}
    return " ".join([names.get(kind, str(kind)), *_bounds(field)])


def _takes_list(field: Schema, definitions: Schema) -> str:
    if "prefixItems" in field:
        return f"[{', '.join(_takes(part, definitions) for part in field['prefixItems'])}]"
    return f"list of: {_takes(field['items'], definitions)}"


def _bounds(field: Schema) -> list[str]:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {field[name]:g}" for name, sign in signs.items() if name in field]
    return [", ".join(found)] if found else []
