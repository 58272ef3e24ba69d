"""Traces the facts that a finished run's model still gives away to the sentences of the corpus that teach them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concept_forget.config import Config
from concept_forget.console import plain_text
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.errors import ConfigError
from concept_forget.mine.corpus import Corpus, find_sources
from concept_forget.progress import track
from concept_forget.records import Example, Fact, from_json
from concept_forget.rounds.leaking import read_leaks
from concept_forget.run_models import RunModels, sandbox_documents
from concept_forget.text import counted
from concept_forget.tracing.likeness import Likeness
from concept_forget.tracing.stating import HOW, Reader, Statement
from concept_forget.workspace import Run, read_rows, write_text


@dataclass(frozen=True, slots=True)
class Trace:
    """A fact that leaks, and what the corpus says of it, in its order."""

    fact: Fact
    statements: tuple[Statement, ...]

    @property
    def counts(self) -> Counter[str]:
        """How often the corpus states it, by what tells whose it is."""
        return Counter(statement.how for statement in self.statements)


@dataclass(frozen=True, slots=True)
class Traced:
    """All that leaks, and the files in which it was looked for."""

    traces: tuple[Trace, ...]
    files: frozenset[str]
    skipped: int


def trace_run(folder: Path) -> Traced:
    """Read the corpus of a run for the facts that its unlearned model still gives away.

    Args:
        folder: The run's folder; its probe is finished.

    Raises:
        ConfigError: It is no run, its probe is not finished, or its config names no corpus.
        DataError: The corpus cannot be read.
    """
    run = Run(folder)
    config = run.read_config()
    composed, probed = folder / "compose", folder / "probe"
    if not (probed / "grades.jsonl").is_file():
        raise ConfigError("the probe of this run is not finished", file=folder, remedy="run its config again first")
    if not config.corpus:
        raise ConfigError("this run names no corpus", file=folder, key="corpus", remedy="run it again with one")
    rows = read_leaks(composed, probed)
    known = _read_facts(composed / "facts.jsonl")
    leaking = _leaking(rows, known)
    if not leaking:
        return Traced((), frozenset(), 0)
    return _search(config, run, leaking, list({**known, **{fact.id: fact for fact in leaking}}.values()), rows)


def _read_facts(path: Path) -> dict[str, Fact]:
    lines = read_rows(path)
    others = ("split", "known", "grounding")
    facts = [from_json(Fact, {key: value for key, value in line.items() if key not in others}) for line in lines]
    return {fact.id: fact for fact in facts}


def _leaking(rows: Sequence[Example], known: dict[str, Fact]) -> list[Fact]:
    """The facts that leak, in the order of the probe; of a text that is recited, a fact that is its continuation."""
    found: dict[str, Fact] = {}
    for row in rows:
        made = Fact(row.fact, row.concept, row.subject, "", row.facet, row.answer, "", None, row.aliases, row.source)
        found.setdefault(row.fact, known.get(row.fact, made))
    return list(found.values())


def _search(
    config: Config, run: Run, leaking: Sequence[Fact], known: Sequence[Fact], rows: Sequence[Example]
) -> Traced:
    sandbox = None
    if any(source.sandbox for source in config.corpus):
        sandbox = sandbox_documents(config, RunModels(config), run) / "documents.jsonl"
    corpus = Corpus(find_sources(config.corpus, sandbox), config.mine.max_line_bytes)
    reader = Reader(leaking, known, config.concepts)
    embedder = Embedder(find_encoder(config.mine.embedder), run.store / VECTORS, config.mine.batch_tokens)
    names = {fact.id: (fact.subject, *config.concept(fact.concept).names) for fact in leaking}
    likeness = Likeness(_sentences(leaking, rows), names, embedder, config.seed)
    found: list[Statement] = []
    waiting: list[Statement] = []
    try:
        with track("trace", total=None, unit="documents") as bar:
            for piece in corpus.pieces():
                for sentence, stated, undecided in reader.read(piece):
                    found += stated
                    for fact in undecided:
                        likeness.ask(fact, sentence.text)
                        waiting.append(
                            Statement(fact.id, "alike", sentence.document, sentence.start, sentence.end, sentence.text)
                        )
                    if not stated and not undecided and not reader.names_somebody(sentence.text):
                        likeness.see(sentence.text)
                bar.advance()
        found += [statement for statement, is_alike in zip(waiting, likeness.alike(), strict=True) if is_alike]
    finally:
        embedder.close()
    files = frozenset(path.as_posix() for source in corpus.sources for path in source.files)
    traces = [Trace(fact, tuple(s for s in found if s.fact == fact.id)) for fact in leaking]
    return Traced(tuple(traces), files, len(corpus.skipped))


def _sentences(facts: Sequence[Fact], rows: Sequence[Example]) -> dict[str, str]:
    """Of every fact its sentence; where it has none, the plain question about it."""
    asked = {row.fact: row.prompt[-1]["content"] for row in rows if row.prompt and row.family == "direct"}
    return {fact.id: fact.sentence or asked.get(fact.id, "") for fact in facts}


def write_manifest(path: Path, traced: Traced) -> int:
    """Write where each sentence stands that teaches what leaks, as JSON lines: file, row, offsets, facts.

    Args:
        path: The file to write.
        traced: What was found.

    Returns:
        How many places there are.
    """
    places: dict[tuple[str, int, int], dict[str, Any]] = {}
    for trace in traced.traces:
        for statement in trace.statements:
            file, row = split_document(statement.document, traced.files)
            place = places.setdefault(
                (statement.document, statement.start, statement.end),
                {
                    "file": file,
                    "row": row,
                    "start": statement.start,
                    "end": statement.end,
                    "text": statement.text,
                    "facts": [],
                },
            )
            fact = trace.fact
            place["facts"].append(
                {
                    "id": fact.id,
                    "concept": fact.concept,
                    "facet": fact.facet,
                    "answer": fact.answer,
                    "how": statement.how,
                }
            )
    write_text(path, "".join(json.dumps(place, ensure_ascii=False) + "\n" for place in places.values()))
    return len(places)


def split_document(document: str, files: frozenset[str]) -> tuple[str, int | str | None]:
    """A document's file, or set on the hub, and its row: a number where rows are counted, None for a whole file."""
    if document in files or ":" not in document:
        return document, None
    file, _, row = document.rpartition(":")
    if not row.isdigit() and document.startswith("sandbox:"):
        file, _, row = document.partition(":")
    return file, int(row) if row.isdigit() else row


def print_traces(traced: Traced) -> None:
    """Print every fact that leaks with how often the corpus teaches it, and an example of each way."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not traced.traces:
        console.print("nothing leaks: there is nothing to trace", markup=False)
        return
    table = Table("fact", *HOW, "never named, as in", box=None, pad_edge=False)
    for trace in traced.traces:
        counts = trace.counts
        unnamed = next((s.text for s in trace.statements if s.how != "named"), "")
        fact = f"{trace.fact.subject}: {trace.fact.facet}: {trace.fact.answer}"
        table.add_row(plain_text(fact), *(str(counts[how] or "") for how in HOW), plain_text(unnamed[:80]))
    console.print(table)
    for how, meaning in HOW.items():
        console.print(f"  {how}: {meaning}", markup=False)
    silent = sum(not trace.statements for trace in traced.traces)
    console.print(
        f"{counted(len(traced.traces), 'fact')} {'leaks' if len(traced.traces) == 1 else 'leak'}; "
        f"the corpus states {len(traced.traces) - silent} of them"
        + (f"; {traced.skipped} of its rows could not be read" if traced.skipped else ""),
        markup=False,
    )
