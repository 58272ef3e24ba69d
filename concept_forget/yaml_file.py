"""YAML with the line of every key, within bounds: no tag, no key twice, no more depth or size than a config needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from concept_forget.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_VALUES = 20_000
MAX_NUMBER = 100
"""Characters of a number: Python reads a long one slowly, or not at all."""
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

KeyPath = tuple[str | int, ...]


def read_yaml(file: Path) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The values of a file, and the line of each key.

    Raises:
        ConfigError: It cannot be read, is no YAML, too large, nested too deeply, or holds a key twice or a tag.
    """
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                f"the file has {size:,} bytes, a config at most {MAX_BYTES:,}",
                file=file,
                remedy="is it a config?",
            )
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            "there is no such file",
            file=file,
            remedy="check the path, or write a config with `concept-forget init`",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError("the file is not UTF-8 text", file=file, line=line, remedy="save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}", file=file, remedy="give a readable YAML file"
        ) from error
    node = _compose(text, file)
    if node is None:
        raise ConfigError("the file is empty", file=file, line=1, remedy="start from `concept-forget init`")
    lines: dict[KeyPath, int] = {}
    values = _construct(node, (), lines, file)
    if not isinstance(values, dict):
        raise ConfigError(
            "a config is a mapping of sections",
            file=file,
            line=1,
            remedy="write `concept:`, `target:`, … as keys",
        )
    return values, lines


def read_value(text: str, place: str) -> Any:
    """A value that stands alone, as on a command line.

    Args:
        text: YAML.
        place: What it is the value of, for messages.

    Raises:
        ConfigError: It is no YAML, or beyond the bounds of a file.
    """
    node = _compose(text, Path(place))
    return None if node is None else _construct(node, (), {}, Path(place))


def _compose(text: str, file: Path) -> yaml.Node | None:
    try:
        _check_events(text, file)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(
            f"this is not YAML: {error.problem or error.context}",
            file=file,
            line=mark.line + 1 if mark else None,
            remedy="look at the indentation, the quotes and the colons around this line",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"this is not YAML: {error}", file=file, remedy="save it as plain UTF-8 text") from error


def _check_events(text: str, file: Path) -> None:
    """Refuse tags, and nesting before anything walks down it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ConfigError(
                f"the tag {tag.rsplit(':', 1)[-1]!r} cannot be read",
                file=file,
                line=line,
                remedy="write plain values, mappings and lists, without `!`",
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_deep(file, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_deep(file: Path, line: int) -> ConfigError:
    return ConfigError(f"nested deeper than {MAX_DEPTH} levels", file=file, line=line, remedy="flatten it")


def _construct(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: Path) -> Any:
    """Build plain values from YAML nodes, keeping each key's line, refusing duplicate keys and excess."""
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(lines) > MAX_VALUES:
        raise ConfigError(
            f"more than {MAX_VALUES:,} values",
            file=file,
            line=line,
            remedy="repeat less by aliases, or move rows to a file",
        )
    if len(path) > MAX_DEPTH:
        raise _too_deep(file, line)  # through an alias to what it stands in
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            key_line = key_node.start_mark.line + 1
            if key is None:
                raise ConfigError("a key must be plain text", file=file, line=key_line, remedy="quote the key")
            if key in mapping:
                raise ConfigError(
                    f"the key stands twice (first on line {lines[(*path, key)]})",
                    file=file,
                    line=key_line,
                    key=dotted((*path, key)),
                    remedy="keep one of the two",
                )
            lines[(*path, key)] = key_line
            mapping[key] = _construct(value_node, (*path, key), lines, file)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, index), lines, file) for index, item in enumerate(node.value)]
    if node.tag in _NUMBERS and len(node.value) > MAX_NUMBER:
        raise ConfigError(
            f"the number has {len(node.value):,} characters, one may have {MAX_NUMBER}",
            file=file,
            line=line,
            key=dotted(path) or None,
            remedy="write a shorter one, or quote it",
        )
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"this value cannot be read: {error}", file=file, line=line, key=dotted(path), remedy="quote it"
        ) from error


def dotted(path: KeyPath) -> str:
    """A path as people write it: section.key."""
    return ".".join(str(part) for part in path)
