"""The finished sets that a probe asks from, out of a run's folder or an exported data set."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from concept_forget.concept import Concept
from concept_forget.config import GeneratorConfig, ProbeConfig
from concept_forget.errors import DataError
from concept_forget.hub_rows import read_parquet
from concept_forget.records import Example, content_hash, from_json, to_json
from concept_forget.workspace import Run

_COLUMNS = frozenset(field.name for field in dataclasses.fields(Example))
_REMEDY = "give a run's folder, its folder compose, or what `concept-forget export --to jsonl` wrote"


@dataclasses.dataclass(frozen=True, slots=True)
class ProbeRows:
    """What a probe asks, and how the run that it is of asks it.

    ``concepts`` have aliases and kinds where the run is known, else their names alone. ``judge`` and ``embedder`` are
    what the run grades with, where it does.
    """

    probe: Sequence[Example]
    collateral: Sequence[Example]
    retain: Sequence[Example]
    concepts: Sequence[Concept]
    settings: ProbeConfig
    gate_tiers: tuple[str, ...]
    seed: int
    judge: GeneratorConfig | None = None
    embedder: str = "auto"

    @property
    def mark(self) -> str:
        """A hash of all that the questions depend on."""
        rows = [to_json(row) for row in (*self.probe, *self.collateral, *self.retain)]
        return content_hash(rows, [[concept.names, concept.kind] for concept in self.concepts], self.seed)


def read_probes(folder: Path) -> ProbeRows:
    """Read the sets of a run's folder, of its folder compose, or of an export.

    Args:
        folder: Holds ``probe.jsonl`` or ``probe.parquet``, in itself or in ``compose``.

    Raises:
        DataError: There are no such rows, or a row is none.
        ConfigError: The run was made by another version.
    """
    place = next((there for there in (folder, folder / "compose") if _find(there, "probe") is not None), None)
    if place is None:
        problem = "there are no rows of a probe here" if folder.is_dir() else "there is no such folder"
        raise DataError(problem, file=folder, remedy=_REMEDY)
    probe, collateral, retain = (_read(place, split) for split in ("probe", "collateral", "retain"))
    if not probe:
        raise DataError("the probe has no row", file=_find(place, "probe"), remedy=_REMEDY)
    run = next((there for there in (folder, folder.parent) if (there / "run.json").is_file()), None)
    if run is not None and place.name == "compose":
        config = Run(run).read_config()
        return ProbeRows(
            probe,
            collateral,
            retain,
            config.concepts,
            config.probe,
            config.gate_tiers,
            config.seed,
            config.judge,
            config.mine.embedder,
        )
    concepts = [Concept(name=name) for name in dict.fromkeys(row.concept for row in probe)]
    tiers = {row.tier for row in probe}
    gate = "new_form" if "new_form" in tiers or "trained_form" not in tiers else "trained_form"
    return ProbeRows(probe, collateral, retain, concepts, ProbeConfig(), (gate,), 0)


def _find(folder: Path, split: str) -> Path | None:
    files = (folder / f"{split}.jsonl", folder / f"{split}.parquet")
    return next((file for file in files if file.is_file()), None)


def _read(folder: Path, split: str) -> list[Example]:
    path = _find(folder, split)
    if path is None:
        return []
    rows = []
    for number, data in _lines(path) if path.suffix == ".jsonl" else _table(path):
        try:
            rows.append(_example(data))
        except (TypeError, KeyError, IndexError, ValueError) as error:
            raise DataError(
                f"this row is not one of this program's sets: {error}", file=path, line=number, remedy=_REMEDY
            ) from error
    return rows


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line:
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise DataError(f"not JSON: {error}", file=path, line=number, remedy=_REMEDY) from error


def _table(path: Path) -> Iterator[tuple[int, Any]]:
    yield from enumerate(read_parquet(path, _REMEDY), start=1)


def _example(data: Mapping[str, Any]) -> Example:
    """A row as ``compose`` hands it on, from one of its own or from the public face, in which replies are messages."""
    values = {name: value for name, value in data.items() if name in _COLUMNS}
    if isinstance(values["completion"], list):
        values["completion"] = values["completion"][-1]["content"]
        if not any(message["content"] for message in values["prompt"]):
            values["prompt"] = []
    return from_json(Example, values)
