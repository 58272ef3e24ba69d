"""What others build upon, as text: the public API, the commands, exit codes, the config, and the columns of files.

Without an argument it prints all but the last, of the run that it is given the last. CONTRIBUTING.md says when to write it down.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

import concept_forget
from concept_forget import errors, records
from concept_forget.cli import app
from concept_forget.config import Config

RECORDS = ("Fact", "Question", "Passage", "Snippet", "Example", "Attempt", "Grade")
_IDLE = ("description", "title", "additionalProperties")


def interface() -> str:
    """All of it but the columns of files, a fact a line."""
    parts = {
        "python": _python(), "commands": sorted(_commands()), "exit codes": _exit_codes(), "records": _records(), "config": _config(),
    }  # fmt: skip
    return "".join(f"# {name}\n" + "".join(f"{line}\n" for line in lines) + "\n" for name, lines in parts.items())


def columns(run: Path) -> str:
    """The columns of every file of rows that a run leaves, and the keys of its other data."""
    lines = []
    for file in sorted(path for verb in run.iterdir() if verb.is_dir() for path in verb.iterdir()):
        name = file.relative_to(run)
        if file.suffix == ".jsonl":
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
            lines.append(f"{name}: {', '.join(dict.fromkeys(key for row in rows for key in row))}")
        elif file.suffix == ".json":
            lines.append(f"{name}: {', '.join(json.loads(file.read_text(encoding='utf-8')))}")
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return "".join(f"{line}\n" for line in [f"run.json: {', '.join(manifest)}", *lines])


def _python() -> Iterator[str]:
    for name in sorted(concept_forget.__all__):
        thing = getattr(concept_forget, name)
        if not inspect.isclass(thing):
            yield re.sub(" = <function .*? at 0x[0-9a-f]+>", " = …", f"{name}{inspect.signature(thing)}")
        elif dataclasses.is_dataclass(thing):
            yield f"class {name}: {', '.join(f'{field.name}: {field.type}' for field in dataclasses.fields(thing))}"
        else:
            yield f"class {name}({', '.join(base.__name__ for base in thing.__bases__)})"


def _commands(holder: typer.Typer = app, words: str = "concept-forget") -> Iterator[str]:
    for command in holder.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        yield " ".join([words, name, *_parameters(command.callback)])
    for group in holder.registered_groups:
        assert group.typer_instance is not None
        name = group.name or group.typer_instance.info.name
        yield from _commands(group.typer_instance, f"{words} {name}" if isinstance(name, str) else words)


def _parameters(callback: Callable[..., Any]) -> Iterator[str]:
    """Arguments in capitals and options in brackets, with type and default."""
    hints = typing.get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        kind, told = typing.get_args(hints[name])[:2]
        given = parameter.default
        default = "" if given is parameter.empty else f" = {given.value if isinstance(given, enum.Enum) else given}"
        if isinstance(told, typer.models.ArgumentInfo):
            yield f"{name.upper()}: {_kind(kind)}{default}"
        else:
            own = [word for word in (told.default, *(told.param_decls or ())) if isinstance(word, str)]
            yield f"[{' '.join(own) or '--' + name.replace('_', '-')}: {_kind(kind)}{default}]"


def _kind(kind: Any) -> str:
    inner = [one for one in (kind, *typing.get_args(kind)) if inspect.isclass(one) and issubclass(one, enum.Enum)]
    if inner:
        return "|".join(str(choice.value) for choice in inner[0])
    return (kind.__name__ if inspect.isclass(kind) else str(kind)).replace("pathlib.", "")


def _exit_codes() -> Iterator[str]:
    for name, thing in sorted(vars(errors).items()):
        if inspect.isclass(thing) and issubclass(thing, errors.ConceptForgetError):
            yield f"{name}: {thing.exit_code}"


def _records() -> Iterator[str]:
    for name in RECORDS:
        fields = dataclasses.fields(getattr(records, name))
        yield f"{name}: {', '.join(f'{field.name}: {field.type}' for field in fields)}"


def _config() -> Iterator[str]:
    schema = Config.model_json_schema()
    for section, inner in sorted({"": schema, **schema["$defs"]}.items()):
        for key, field in inner.get("properties", {}).items():
            required = "!" if key in inner.get("required", ()) else ""
            yield f"{section}.{key}{required} {json.dumps(_plain(field), ensure_ascii=False, sort_keys=True)}"


def _plain(value: Any) -> Any:
    """A part of a schema without what is there to be read alone."""
    if isinstance(value, dict):
        return {
            key: _plain(item) for key, item in value.items() if key not in _IDLE or not isinstance(item, (str, bool))
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.stdout.write(columns(Path(sys.argv[1])) if sys.argv[1:] else interface())
