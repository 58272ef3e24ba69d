"""The front door of mine: reads the corpus once and writes the snippets that teach a concept, and the near misses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concept_forget.config import Config
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.errors import ConfigError
from concept_forget.execution import current_workers
from concept_forget.mine.calibration import CutOff
from concept_forget.mine.cascade import Cascade
from concept_forget.mine.chunks import cut_in_blocks
from concept_forget.mine.corpus import Corpus, Skipped, find_sources, hash_sources
from concept_forget.mine.hits import Placed
from concept_forget.mine.index_mining import search_index
from concept_forget.mine.indexes import MANIFEST, CorpusIndex
from concept_forget.mine.queries import Target, make_target
from concept_forget.mine.reranking import Reranker, find_reranker
from concept_forget.mine.search import Choice, Found, Search
from concept_forget.mine.static import find_static
from concept_forget.precision import choose_precision
from concept_forget.progress import Progress, track
from concept_forget.records import Fact, Question
from concept_forget.sentence_encoder import Encoder
from concept_forget.workspace import StageContext, file_hash, read_records, write_json, write_records, write_text

if TYPE_CHECKING:
    from concept_forget.records import Snippet

VERSION = 6
SHARD = 4096
"""Chunks searched at once: what is held of the corpus at any time."""


def fingerprint_parts(config: Config) -> list[object]:
    """What the output depends on: the corpus and its hashes, the encoder, the concepts, the settings.

    Raises:
        UserError: A path of the corpus, the encoder or the index is absent, or the index is of another corpus.
    """
    concepts = [concept.model_dump(include={"name", "aliases", "description"}) for concept in config.concepts]
    folder = config.mine.index
    if not config.corpus:
        if folder is not None:
            raise ConfigError(
                "an index is named and no corpus",
                key="mine.index",
                remedy="name under `corpus` what the index was made of: what is found is traced to its files",
            )
        return [concepts, "no corpus"]
    encoder = find_encoder(config.mine.embedder)
    marks = hash_sources(find_sources(config.corpus))
    settings = config.mine.model_dump(mode="json", exclude={"devices"})
    parts: list[object] = [concepts, settings, encoder.identity, marks]
    if config.mine.reranker is not None:
        parts.append(find_reranker(config.mine.reranker).fingerprint)
    if folder is None:
        return parts
    CorpusIndex(folder).check(encoder, config.mine.chunk_characters, marks)
    return [*parts, file_hash(folder / MANIFEST)]


def estimate(config: Config) -> dict[str, int]:
    """Files of the corpus that were found and their bytes; whole sets of ``datasets`` and the sandbox are not counted.

    Raises:
        UserError: A path of the corpus, or the encoder, is absent.
    """
    if not config.corpus:
        return {"files": 0, "bytes": 0}
    find_encoder(config.mine.embedder)
    if config.mine.reranker is not None:
        find_reranker(config.mine.reranker)
    sources = [source for source in find_sources(config.corpus) if source.files or source.remote]
    return {
        "files": sum(len(source.files) + len(source.remote) for source in sources),
        "bytes": sum(source.size or 0 for source in sources),
    }


def run(context: StageContext) -> dict[str, object]:
    """Search the corpus for every concept.

    Writes ``snippets.jsonl``, ``skipped.jsonl`` and ``summary.json``. An interrupted run goes on from the vectors that
    are kept already.

    Raises:
        UserError: The corpus, the encoder or the index is absent, or the corpus holds no text.
    """
    config = context.config
    if not config.corpus:
        return _write(context.folder, [], [], {"note": "the config names no corpus", "chunks": 0})
    folder = context.inputs.get("sandbox")
    sources = find_sources(config.corpus, folder / "documents.jsonl" if folder is not None else None)
    corpus = Corpus(sources, config.mine.max_line_bytes, current_workers())
    encoder = find_encoder(config.mine.embedder)
    index = None if config.mine.index is None else CorpusIndex(config.mine.index)
    targets = _read_targets(config, context.inputs.get("expand"))
    embedder, precision = _open_embedder(context, encoder)
    try:
        search = _open_search(context, targets, embedder)
        if index is None:
            cascade = _open_cascade(config, targets, embedder, search)
            _search_corpus(corpus, search, embedder, config.mine.chunk_characters, cascade)
        else:
            index.check_dimension(embedder.dimension)
            search_index(index, search, targets, embedder, config.mine.top_k, context.seed)
        found = search.finish()
    finally:
        embedder.close()
        context.costs.flops += embedder.flops
    snippets = [snippet for one in found for snippet in (*one.snippets, *one.near_misses)]
    numbers = {
        "encoder": encoder.name,
        "precision": precision,
        "documents": corpus.documents if index is None else index.manifest.documents,
        "chunks": search.chunks,
        "scored": search.scored,
        "concepts": {target.concept.name: _numbers(target, one) for target, one in zip(targets, found, strict=True)},
    }
    skipped = corpus.skipped if index is None else [Skipped(**entry) for entry in index.manifest.skipped]
    return _write(context.folder, snippets, skipped, numbers)


def _open_embedder(context: StageContext, encoder: Encoder) -> tuple[Embedder, dict[str, Any]]:
    """The embedder, and for the record what it computes in and why."""
    settings = context.config.mine
    chosen = None if settings.precision == "auto" else settings.precision
    if settings.index is not None:
        chosen = "float32"  # as its vectors are: the queries' and theirs are compared
    precision, trial = choose_precision(encoder, chosen, context.folder)
    embedder = Embedder(
        encoder,
        context.cache.with_name(VECTORS),
        settings.batch_tokens,
        current_workers(),
        precision=precision,
        devices=settings.devices,
    )
    return embedder, {"precision": precision} if trial is None else trial


def _open_search(context: StageContext, targets: Sequence[Target], embedder: Embedder) -> Search:
    settings = context.config.mine
    return Search(
        targets,
        embedder,
        top_k=settings.top_k,
        false_positive_rate=settings.false_positive_rate,
        seed=context.seed,
        choice=Choice(
            settings.variety,
            settings.facet_share,
            settings.near_duplicates,
            settings.false_discovery_rate,
            Reranker(find_reranker(settings.reranker)) if settings.reranker is not None else None,
        ),
        recall_check=settings.recall_check if settings.cascade != "none" else 0,
    )


def _open_cascade(config: Config, targets: Sequence[Target], embedder: Embedder, search: Search) -> Cascade | None:
    if config.mine.cascade == "none":
        return None
    return Cascade(targets, find_static(embedder.encoder), embedder, search.drawn, config.mine.proposals)


def _read_targets(config: Config, expand: Path | None) -> list[Target]:
    facts: list[Fact] = []
    questions: list[Question] = []
    if expand is not None and (expand / "facts.jsonl").is_file():
        facts = read_records(Fact, expand / "facts.jsonl")
        questions = read_records(Question, expand / "questions.jsonl")
    return [make_target(concept, facts, questions) for concept in config.concepts]


def _search_corpus(corpus: Corpus, search: Search, embedder: Embedder, limit: int, cascade: Cascade | None) -> None:
    size = corpus.size
    unit = "chunks" if size is None else "kB"
    with track("mine", total=None if size is None else size / 1000, unit=unit) as bar:
        done = 0
        for chunks in cut_in_blocks(corpus.pieces(), limit, SHARD):
            placed = search.place(chunks)
            if cascade is not None:
                cascade.add([entry for entry in placed if not entry.is_close])
                placed = [entry for entry in placed if entry.is_close]
            share = 1.0 if size is None else (corpus.bytes_read - done) / 1000 / max(1, len(placed))
            done = corpus.bytes_read
            _score(search, placed, embedder, _Scaled(bar, share))
    if cascade is not None:
        proposed = cascade.propose()
        with track("score proposals", total=len(proposed), unit="chunks") as bar:
            for start in range(0, len(proposed), SHARD):
                _score(search, proposed[start : start + SHARD], embedder, bar)


def _score(search: Search, placed: Sequence[Placed], embedder: Embedder, progress: Progress) -> None:
    search.score(placed, embedder.encode([entry.chunk.text for entry in placed], progress))


class _Scaled:
    """Tells a bar that counts the corpus's bytes of progress that is made in chunks."""

    def __init__(self, bar: Progress, share: float) -> None:
        self._bar = bar
        self._share = share

    def advance(self, amount: float = 1) -> None:
        self._bar.advance(amount * self._share)

    def resize(self, total: float) -> None:
        self._bar.resize(total * self._share)


def _numbers(target: Target, found: Found) -> dict[str, Any]:
    cut_off: CutOff = found.cut_off
    return {
        "snippets": len(found.snippets),
        "near_misses": len(found.near_misses),
        "unclear": found.unclear,
        "queries": len(target.queries),
        "cut_off": cut_off.value,
        "estimated_false_discovery_rate": found.false_discovery_rate,
        "median_of_unrelated": cut_off.median,
        "random_names": cut_off.names,
        "unrelated_scores": cut_off.scores,
        **({} if found.recall is None else {"recall": dataclasses.asdict(found.recall)}),
    }


def _write(
    folder: Path, snippets: list[Snippet], skipped: Sequence[Skipped], numbers: dict[str, object]
) -> dict[str, object]:
    near = sum(snippet.near_miss for snippet in snippets)
    summary: dict[str, object] = {
        "snippets": len(snippets) - near,
        "near_misses": near,
        "skipped": len(skipped),
        **numbers,
    }
    write_records(folder / "snippets.jsonl", snippets)
    rows = ({"file": entry.file, "line": entry.line, "reason": entry.reason} for entry in skipped)
    write_text(folder / "skipped.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_json(folder / "summary.json", summary)
    return summary
