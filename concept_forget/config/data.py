"""The corpus, and rows that are already known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from concept_forget.config.section import ConceptName, RowRange, Section


class CorpusSource(Section):
    """A part of the corpus: files, a dataset that `datasets` reads, or what the sandbox was taught."""

    path: str | None = Field(None, description="File, glob, folder or hub name.")
    name: str | None = Field(None, description="Configuration of a hub dataset.")
    split: str = Field("train", description="Split of a hub dataset.")
    text: str = Field("text", description="Column that holds the text.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub dataset.")
    sandbox: bool = Field(False, description="The documents that the sandbox target was taught.")

    @model_validator(mode="after")
    def _one_source(self) -> CorpusSource:
        if (self.path is None) == (not self.sandbox):
            raise ValueError("give either `path: FILES-OR-HUB-NAME` or `sandbox: true`")
        return self


def _source_from_text(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


CorpusField = Annotated[CorpusSource, BeforeValidator(_source_from_text)]


BenchmarkRows = Literal[
    "tofu/forget01", "tofu/forget05", "tofu/forget10", "tofu/retain90", "tofu/retain95", "tofu/retain99", "tofu/full",
    "tofu/real_authors", "tofu/world_facts",
]  # fmt: skip


class RowFile(Section):
    """A file of the user's own rows: `question`/`answer`, `prompt`/`completion` or `text` in JSON lines.

    Or a set of a benchmark, from the hub or from copies on this machine.
    """

    path: Path | None = Field(None, description="JSON lines; with `benchmark`, a folder with copies of its sets.")
    benchmark: BenchmarkRows | None = Field(
        None, description="A set of a benchmark, as in tofu/forget10, instead of a file: from the hub unless `path`."
    )
    rows: RowRange = None
    concept: ConceptName | None = Field(None, description="Concept the rows belong to, where there are several.")
    subject: str | None = Field(None, description="Whom or what the rows are about, where they do not say so.")
    distance: Literal["near", "middle", "far"] = Field("near", description="For collateral: how far from the concept.")

    @model_validator(mode="after")
    def _one_source(self) -> RowFile:
        if self.path is None and self.benchmark is None:
            raise ValueError("give `path: FILE`, or `benchmark: NAME` as in tofu/forget10")
        return self

    @property
    def place(self) -> Path:
        """What the rows are called in messages and in their source: the file, or the benchmark's set."""
        return self.path if self.path is not None and self.benchmark is None else Path(str(self.benchmark))

    @model_validator(mode="after")
    def _range_is_one(self) -> RowFile:
        if self.rows is not None and not 0 <= self.rows[0] < self.rows[1]:
            raise ValueError("`rows: [FIRST, END]` needs 0 ≤ FIRST < END")
        return self


def _row_files(value: Any) -> Any:
    if value is None:
        return ()
    if isinstance(value, (str, Path, dict)):
        value = [value]
    if isinstance(value, (list, tuple)):
        return tuple({"path": item} if isinstance(item, (str, Path)) else item for item in value)
    return value


RowFiles = Annotated[tuple[RowFile, ...], BeforeValidator(_row_files)]


class DataConfig(Section):
    """Rows that are already known, as in an erasure request."""

    forget: RowFiles = Field((), description="Rows to forget: a file, {path, rows, …}, or a list of these.")
    retain: RowFiles = Field((), description="Rows to keep.")
    collateral: RowFiles = Field((), description="Rows never trained on, asked to see what else was lost.")
    oracle: RowFiles = Field(
        (), description="Rows that the target learned the concept from, for `compose.forget_from: oracle`."
    )
