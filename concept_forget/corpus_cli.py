"""The commands that read a corpus apart from a run: ``index`` and ``trace``."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from concept_forget.console import say
from concept_forget.text import counted


class IndexKind(enum.Enum):
    """Kinds of index, for the command line's own check."""

    FLAT = "flat"
    IVF_PQ = "ivf_pq"


def index(
    corpus: Annotated[list[str], typer.Argument(metavar="CORPUS...", help="Files, globs, folders or hub names.")],
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    kind: Annotated[IndexKind, typer.Option(help="Exact, or compressed for large corpora.")] = IndexKind.FLAT,
    text: Annotated[str, typer.Option(metavar="COLUMN", help="The column that holds the text.")] = "text",
    embedder: Annotated[str, typer.Option(metavar="MODEL", help="As `mine.embedder`.")] = "auto",
    chunk_characters: Annotated[int, typer.Option(min=50, max=20000, help="As `mine.chunk_characters`.")] = 500,
) -> None:
    """Encode a corpus once, for `mine.index` of any config that names the same corpus."""
    from concept_forget.config import CorpusSource
    from concept_forget.config.verbs import MineConfig
    from concept_forget.mine.index_building import build_index

    sources = [CorpusSource(path=path, text=text) for path in corpus]
    settings = MineConfig(embedder=embedder, chunk_characters=chunk_characters)
    manifest = build_index(sources, out, kind.value, settings, say)
    say(f"wrote    {out}: {manifest.factory}, {manifest.dimension} dimensions, encoder {manifest.encoder}")


def trace(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder; its probe is finished.")],
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write file, row and offsets of every place there.", show_default=False),
    ] = None,
) -> None:
    """Find what in the corpus teaches the facts that still leak, also where it never names the concept."""
    from concept_forget.tracing.tracing import print_traces, trace_run, write_manifest

    traced = trace_run(run_folder)
    print_traces(traced)
    if manifest is not None:
        places = write_manifest(manifest, traced)
        say(f"wrote    {manifest}: {counted(places, 'place')}")
