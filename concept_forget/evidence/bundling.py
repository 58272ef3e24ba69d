"""Packs what a run's numbers rest on into one file: config, data hashes, attempts, grades, metrics, environment."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concept_forget.errors import ConfigError
from concept_forget.probe.grading import new_answers
from concept_forget.records import Example
from concept_forget.workspace import Run, file_hash, read_json, read_records, write_bytes

FORMAT = 2
MANIFEST = "manifest.json"
REPLACEMENTS = "replacements.json"
VERBS = ("expand", "mine", "compose", "unlearn", "probe", "report")
_LEFT_OUT = {".html"}  # the page says the same in other words
_ASKED = ("probe.jsonl", "collateral.jsonl")
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP knows: equal contents are equal bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was written: where, how many files are in it, and its SHA-256 in hexadecimal."""

    path: Path
    files: int
    sha256: str


def write_bundle(run: Path, out: Path | None = None) -> Bundle:
    """Pack a finished run. The same run gives the same bytes.

    The bundle holds the rows that the probe asks, of the other data sets hashes alone, and of the corpus nothing.

    Args:
        run: The run's folder.
        out: The file; None: ``NAME.bundle.zip`` beside the run.

    Raises:
        ConfigError: It is no run, or not finished, or ``out`` is a folder.
    """
    manifest = Run(run).read_manifest()
    if not (run / "report" / "metrics.json").is_file():
        raise ConfigError(
            "the run is not finished: it has no metrics", file=run, remedy="run its config to the end first"
        )
    out = out or run.resolve().with_name(f"{run.resolve().name}.bundle.zip")
    if out.is_dir():
        raise ConfigError("this is a folder", file=out, key="--out", remedy="name a file, such as run.bundle.zip")
    files = dict(_files(run))
    files[MANIFEST] = _dumped(_describe(files, manifest["config"]))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    write_bytes(out, buffer.getvalue())
    return Bundle(out, len(files), file_hash(out))


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf of nested mappings and lists by its dotted path; an empty one is a leaf."""
    if isinstance(value, Mapping) and value:
        return {path: leaf for key, item in value.items() for path, leaf in flatten(item, f"{prefix}.{key}").items()}
    if isinstance(value, list) and value:
        return {path: leaf for at, item in enumerate(value) for path, leaf in flatten(item, f"{prefix}[{at}]").items()}
    return {prefix.removeprefix("."): value}


def line_hash(line: str) -> str:
    """What the manifest knows of a line: the first 64 bits of its SHA-256."""
    return hashlib.sha256(line.encode()).hexdigest()[:16]


def _files(run: Path) -> Iterator[tuple[str, bytes]]:
    yield "run.json", _read(run / "run.json")
    for verb in VERBS:
        folder = run / verb
        if not (folder / "stage.json").is_file():
            continue  # a model that was given was not unlearned here
        names = ["stage.json", "summary.json"]
        if verb == "unlearn":
            names.append("history.jsonl")
        names += _ASKED if verb == "compose" else ()
        if verb in ("probe", "report"):
            names += [name for name in _written(folder) if Path(name).suffix not in _LEFT_OUT]
        for name in sorted(set(names)):
            if os.path.lexists(folder / name):
                yield f"{verb}/{name}", _read(folder / name)
    probe = read_records(Example, run / "compose" / "probe.jsonl")
    yield REPLACEMENTS, _dumped(new_answers(probe, run / "compose" / "facts.jsonl"))


def _written(folder: Path) -> list[str]:
    """The files that a stage wrote, and nothing that somebody put beside them."""
    stage = read_json(folder / "stage.json")
    if "files" not in stage:
        raise ConfigError("an earlier version made this stage", file=folder, remedy="run the config again with --force")
    return [name for name in stage["files"] if "/" not in name]


def _read(path: Path) -> bytes:
    """The bytes of a file of the run; what a link leads to is none."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(
            f"this is no file that can be packed: {error.strerror}", file=path, remedy="run the config again"
        ) from error


def _describe(files: Mapping[str, bytes], config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "program": importlib.metadata.version("concept-forget"),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        "lines": {
            name: [line_hash(line) for line in content.decode().split("\n") if line]
            for name, content in sorted(files.items())
            if name.endswith(".jsonl")
        },
        "config": flatten(config),
    }


def _dumped(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
