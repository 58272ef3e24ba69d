"""Makes an index of a corpus: encodes it once, shard by shard, and compresses it and measures the loss where asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concept_forget.config import CorpusSource
from concept_forget.config.verbs import MineConfig
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.errors import DataError
from concept_forget.mine.chunks import cut_in_blocks
from concept_forget.mine.corpus import Corpus, find_sources, hash_sources
from concept_forget.mine.indexes import (
    COMPRESSED,
    DEPTH,
    MANIFEST,
    IndexManifest,
    Kind,
    describe_corpus,
    rank_exactly,
    to_json,
)
from concept_forget.mine.shards import BLOCK, FLAT, Shards, ShardWriter, chunks_file, vectors_file
from concept_forget.progress import track
from concept_forget.records import named_seed
from concept_forget.workspace import write_json

if TYPE_CHECKING:
    import faiss
    import numpy as np
    from numpy.typing import NDArray

LEAST = 1024
"""Fewer chunks than that teach no codebook, and are searched exactly in no time."""
POINTS = 39
"""Vectors per centroid that faiss asks for to train on."""
WIDTH = 8
"""Dimensions that one code of a byte stands for, where they divide the vector."""
K = 50
QUERIES = 200
TARGET = 0.95
"""Recall at ``K`` for which as many lists as needed are looked through."""
LEAST_SHARE = 32
"""One list in so many is looked through at least: questions lie further from chunks than these from each other."""


def build_index(
    choices: Sequence[CorpusSource], out: Path, kind: Kind, mine: MineConfig, say: Callable[[str], None]
) -> IndexManifest:
    """Index a corpus. Interrupted, the same call goes on from the vectors that are kept.

    Args:
        choices: The corpus.
        out: A new or empty folder.
        kind: ``flat`` for exact search, ``ivf_pq`` for large corpora.
        mine: The encoder, the chunks' length, and how rows are read.
        say: Told what was made, line by line.

    Raises:
        DataError: ``out`` holds something, the corpus holds no text, or too little for ``ivf_pq``.
        ModelError: There is no such encoder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError("there is something here already", file=out, remedy="name a new or empty folder for the index")
    sources = find_sources(choices)
    encoder = find_encoder(mine.embedder)
    corpus = Corpus(sources, mine.max_line_bytes)
    partial = out.with_name(out.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    embedder = Embedder(encoder, partial / VECTORS, mine.batch_tokens)
    try:
        dimension = embedder.dimension
        sizes = _write_shards(corpus, embedder, ShardWriter(partial, dimension), mine.chunk_characters)
    finally:
        embedder.close()
    shards = Shards(partial, sizes, dimension)
    say(f"chunks   {len(shards)} of {corpus.documents} documents, {len(corpus.skipped)} rows skipped")
    made = _compress(shards, partial, say) if kind == "ivf_pq" else {"factory": FLAT}
    names = [name for n in range(len(sizes)) for name in (vectors_file(n), chunks_file(n))]
    names += [COMPRESSED] if kind == "ivf_pq" else []
    manifest = IndexManifest(
        kind=kind,
        encoder=encoder.name,
        encoder_identity=encoder.identity,
        dimension=dimension,
        chunk_characters=mine.chunk_characters,
        corpus=describe_corpus(hash_sources(sources)),
        documents=corpus.documents,
        skipped=[asdict(entry) for entry in corpus.skipped],
        shards=sizes,
        files={name: (partial / name).stat().st_size for name in names},
        **made,
    )
    for kept in partial.glob(f"{VECTORS}*"):  # they stand in the shards now
        kept.unlink()
    write_json(partial / MANIFEST, to_json(manifest))
    if out.exists():
        out.rmdir()
    partial.replace(out)
    return manifest


def _write_shards(corpus: Corpus, embedder: Embedder, writer: ShardWriter, limit: int) -> list[int]:
    with track("index", total=None, unit="chunks") as bar:
        for chunks in cut_in_blocks(corpus.pieces(), limit, BLOCK):
            writer.add(chunks, embedder.encode([chunk.text for chunk in chunks], bar))
    return writer.finish()


def _compress(shards: Shards, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    if len(shards) < LEAST:
        raise DataError(
            f"an IVF-PQ index needs {LEAST} chunks to learn from, and the corpus has {len(shards)}",
            file=folder.with_suffix(""),
            remedy="make it with `--kind flat`: so few are searched exactly in no time",
        )
    import faiss

    factory, index = train_ivf_pq(shards)
    say(f"trained  {factory}")
    with track("compress", total=len(shards), unit="chunks") as bar:
        for chunks, vectors in shards.blocks():
            index.add(vectors)
            bar.advance(len(chunks))
    faiss.write_index(index, str(folder / COMPRESSED))
    nprobe, recall = tune(index, shards)
    share = (folder / COMPRESSED).stat().st_size / (4 * shards.dimension * len(shards))
    say(f"index    {share:.3f} of the bytes of the vectors, {nprobe} of {index_lists(index)} lists looked through")
    say(
        f"recall   {recall['value']:.3f} of the exact {recall['k']} nearest, over {recall['queries']} chunks as queries"
    )
    return {"factory": factory, "nprobe": nprobe, "recall": recall}


def train_ivf_pq(shards: Shards) -> tuple[str, faiss.Index]:
    """An empty IVF-PQ index for so many chunks, taught on a sample of them, and its description for faiss."""
    import faiss
    import numpy as np

    count = len(shards)
    lists = 2 ** round(math.log2(2 * math.sqrt(count)))
    lists = min(lists, 2 ** int(math.log2(count / POINTS)))
    bits = 8 if count >= POINTS * 256 else 4
    width = next(width for width in (WIDTH * bits // 8, 4, 2, 1) if shards.dimension % width == 0)
    factory = f"IVF{lists},PQ{shards.dimension // width}x{bits}"
    index = faiss.index_factory(shards.dimension, factory, faiss.METRIC_INNER_PRODUCT)
    inverted: Any = faiss.downcast_index(index)  # IndexIVFPQ, whose codebook's type the stubs do not tell
    for clustering in (inverted.cp, inverted.pq.cp):
        clustering.seed = named_seed(0, "ivf_pq", factory) % 2**31
    inverted.pq.cp.max_points_per_centroid = POINTS
    rng = np.random.default_rng(named_seed(0, "ivf_pq sample", count))
    sample = np.sort(rng.choice(count, size=min(count, POINTS * max(lists, 2**bits)), replace=False))
    index.train(shards.vectors(sample))
    return factory, index


def index_lists(index: faiss.Index) -> int:
    """How many inverted lists an IVF index has."""
    import faiss

    return int(faiss.extract_index_ivf(index).nlist)


def tune(index: faiss.Index, shards: Shards) -> tuple[int, dict[str, Any]]:
    """The fewest lists, among powers of two, that give ``TARGET`` of the exact nearest, and the recall that they give.

    Chunks stand in for queries, not counted among their own nearest. Half the sample chooses, the other half measures.
    """
    import faiss
    import numpy as np

    rng = np.random.default_rng(named_seed(0, "ivf_pq recall", len(shards)))
    rows = np.sort(rng.choice(len(shards), size=min(2 * QUERIES, len(shards)), replace=False))
    queries = shards.vectors(rows)
    k = min(K, len(shards) - 1)
    _, exact = shards.search(queries, k + 1)
    inverted, lists = faiss.extract_index_ivf(index), index_lists(index)

    def recall_of(part: slice) -> float:
        _, proposed = index.search(queries[part], min(DEPTH * (k + 1), len(shards)))
        _, found = rank_exactly(shards, queries[part], proposed, k + 1)
        return measure_recall(exact[part], found, rows[part], k)

    inverted.nprobe = 1
    while recall_of(slice(0, None, 2)) < TARGET and inverted.nprobe < lists:
        inverted.nprobe = min(lists, 2 * inverted.nprobe)
    inverted.nprobe = max(inverted.nprobe, lists // LEAST_SHARE)
    measured = rows[1::2]
    return int(inverted.nprobe), {
        "value": round(recall_of(slice(1, None, 2)), 4),
        "k": k,
        "queries": len(measured),
        "depth": DEPTH,
    }


def measure_recall(exact: NDArray[np.int64], found: NDArray[np.int64], own: NDArray[np.int64], k: int) -> float:
    """The share of the exact k nearest that was found, a query's own row aside, averaged over queries.

    Args:
        exact: Rows, best first, shape (queries, k + 1).
        found: Rows, best first, shape (queries, k + 1).
        own: The queries' rows, shape (queries,).
        k: In [1, k + 1).
    """
    shares = []
    for right, here, row in zip(exact.tolist(), found.tolist(), own.tolist(), strict=True):
        wanted = [number for number in right if number != row][:k]
        got = [number for number in here if number != row][:k]
        shares.append(len(set(wanted) & set(got)) / k)
    return sum(shares) / len(shares)
