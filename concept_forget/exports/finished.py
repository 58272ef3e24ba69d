"""The finished sets of a run, read from its folder: rows, the card that goes with them, and how they were made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from concept_forget.config import Config
from concept_forget.errors import ConfigError
from concept_forget.records import Example, ModelSpec, Split
from concept_forget.workspace import Run, read_json, read_records

SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class FinishedSets:
    """What ``compose`` wrote, and what ``expand`` said about how it came to be.

    Args:
        name: The run's name, safe in file names.
        config: The whole effective config of the run.
        rows: The five sets.
        dataset: The folder with the sets as Parquet, in TRL's columns.
        card: The card that lies there.
        expansion: The summary of ``expand``; empty where the run has none.
        generator: The model that wrote; None where there was none, or where it was on a server.
    """

    name: str
    config: Config
    rows: Mapping[Split, Sequence[Example]]
    dataset: Path
    card: str
    expansion: Mapping[str, Any]
    generator: ModelSpec | None

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of what is to be forgotten."""
        return tuple(concept.name for concept in self.config.concepts)

    @property
    def all_rows(self) -> list[Example]:
        """The rows of all five sets."""
        return [row for split in SPLITS for row in self.rows[split]]

    def questions(self, split: Split) -> list[Example]:
        """The rows of a set that put a question."""
        return [row for row in self.rows[split] if row.prompt]

    def passages(self, split: Split) -> list[Example]:
        """The rows of a set that are texts without a question."""
        return [row for row in self.rows[split] if not row.prompt]


def read_finished(folder: Path) -> FinishedSets:
    """Read the sets of a run.

    Args:
        folder: The run's folder.

    Raises:
        ConfigError: It is no run, or its sets are not finished, or another version made it.
        DataError: A file of rows was changed by hand.
    """
    config = Run(folder).read_config()
    composed = folder / "compose"
    if not (composed / "stage.json").is_file():
        raise ConfigError(
            "the sets of this run are not finished: the stage compose is missing",
            file=folder,
            remedy="run `concept-forget compose CONFIG` with the run's config first",
        )
    return FinishedSets(
        name=re.sub(r"\W+", "_", folder.resolve().name).strip("_") or "run",
        config=config,
        rows={split: read_records(Example, composed / f"{split}.jsonl") for split in SPLITS},
        dataset=composed / "dataset",
        card=(composed / "dataset" / "README.md").read_text(encoding="utf-8"),
        expansion=_read_if_there(folder / "expand" / "summary.json"),
        generator=_generator(_read_if_there(folder / "expand" / "stage.json")),
    )


def _read_if_there(path: Path) -> Mapping[str, Any]:
    return read_json(path) if path.is_file() else {}


def _generator(stage: Mapping[str, Any]) -> ModelSpec | None:
    spec = stage.get("models", {}).get("generator")
    return ModelSpec(**spec) if spec else None
