"""IVF-PQ against exact search: recall, time and bytes, at 1,000,000 vectors of 384 dimensions.

    python tests/benchmarks/index_recall.py --out FOLDER

The vectors come from 10,000 chunks of real text (docstrings of the packages that are installed), encoded by MiniLM. 500
of them are held out as queries; the others are **jittered to size**: each is repeated, and every copy is moved in a
random direction until its cosine with the original is about 0.9. No million chunks of real text were encoded. Real text
has more structure than such noise, which is the harder case for a product quantiser.

The times are those of 64 queries at once, about what one concept has, for the same 50 neighbours, exact order included;
medians of five, in turns. Leaves with 1 where recall@50 is under 0.9, the time over 0.2 of the exact search's, or the
index over 0.1 of the vectors' bytes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
import real_chunks

from concept_forget.mine.chunks import Chunk
from concept_forget.mine.index_building import train_ivf_pq, tune
from concept_forget.mine.indexes import COMPRESSED, FORMAT, MANIFEST, CorpusIndex, IndexManifest, Kind, to_json
from concept_forget.mine.shards import FLAT, Shards, ShardWriter, chunks_file, vectors_file
from concept_forget.workspace import write_json

COUNT, HELD_OUT, K, BATCH = 1_000_000, 500, 50, 64
COSINE = 0.9
STEPS = ("vectors", "shards", "index", "measure")
"""An index that was just made is measured at once."""


def jitter(vectors: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The same vectors, each moved in a random direction, to a cosine of about ``COSINE``."""
    moves = rng.standard_normal(vectors.shape, dtype=np.float32)
    moves *= (1 / COSINE**2 - 1) ** 0.5 / np.linalg.norm(moves, axis=1, keepdims=True)
    moved = vectors + moves
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return moved


def read_real(folder: Path) -> NDArray[np.float32]:
    """The real vectors, the queries first."""
    path = folder / "real.npy"
    if not path.is_file():
        found = real_chunks.vectors(folder)
        np.save(path, np.random.default_rng(0).permutation(found))
    return np.asarray(np.load(path))


def write_shards(folder: Path, count: int) -> None:
    """Real vectors, jittered to size."""
    base = read_real(folder)[HELD_OUT:]
    rng = np.random.default_rng(1)
    writer = ShardWriter(folder, base.shape[1])
    for start in range(0, count, len(base)):
        part = jitter(base, rng)[: count - start]
        writer.add([Chunk("d", n, n, "") for n in range(start, start + len(part))], part)
    manifest(folder, writer.finish(), "flat", FLAT, 0)


def manifest(folder: Path, sizes: list[int], kind: Kind, factory: str, nprobe: int) -> None:
    names = [name for n in range(len(sizes)) for name in (vectors_file(n), chunks_file(n))]
    names += [COMPRESSED] if kind == "ivf_pq" else []
    files = {name: (folder / name).stat().st_size for name in names}
    made = IndexManifest(
        kind,
        factory,
        "jittered",
        "",
        384,
        500,
        [],
        1,
        [],
        sizes,
        files,
        nprobe=nprobe,
        format=FORMAT,
    )
    write_json(folder / MANIFEST, to_json(made))


def write_index(folder: Path) -> None:
    """Train, add and write, as ``concept-forget index --kind ivf_pq`` does."""
    sizes = CorpusIndex(folder).manifest.shards
    shards = Shards(folder, sizes, 384)
    began = time.monotonic()
    factory, index = train_ivf_pq(shards)
    print(f"trained {factory} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    for _, vectors in shards.blocks():
        index.add(vectors)
    print(f"added after {time.monotonic() - began:.0f} s", file=sys.stderr)
    faiss.write_index(index, str(folder / COMPRESSED))
    nprobe, recall = tune(index, shards)
    print(f"{nprobe} lists, {recall}, after {time.monotonic() - began:.0f} s", file=sys.stderr)
    manifest(folder, sizes, "ivf_pq", factory, nprobe)


def measure(folder: Path) -> dict[str, object]:
    """Recall over all held-out queries, and times in turns."""
    index = CorpusIndex(folder)
    queries = read_real(folder)[:HELD_OUT]
    _, exact = index.shards.search(queries, K)
    by_lists = {}
    for nprobe in sorted({*(index.manifest.nprobe * 2**power // 8 for power in range(5)), index.manifest.nprobe} - {0}):
        faiss.extract_index_ivf(index.compressed).nprobe = nprobe
        _, found = index.search(queries, K)
        recalls = [len(set(right) & set(got)) / K for right, got in zip(exact.tolist(), found.tolist(), strict=True)]
        seconds = time_searches(index, queries)
        by_lists[nprobe] = {
            "recall_at_50": round(statistics.fmean(recalls), 4),
            "worst_query": min(recalls),
            "seconds_for_64_queries": {name: round(value, 4) for name, value in seconds.items()},
            "time_ratio": round(seconds["ivf_pq"] / seconds["exact"], 3),
        }
    size = (folder / COMPRESSED).stat().st_size
    return {
        "vectors": len(index.shards),
        "factory": index.manifest.factory,
        "nprobe": index.manifest.nprobe,
        "threads": faiss.omp_get_max_threads(),
        **by_lists[index.manifest.nprobe],
        "bytes_ratio": round(size / (4 * 384 * len(index.shards)), 4),
        "by_lists_looked_through": by_lists,
    }


def time_searches(index: CorpusIndex, queries: NDArray[np.float32]) -> dict[str, float]:
    """Seconds of the exact search and of the index's, for ``BATCH`` queries: medians, in turns."""
    times: dict[str, list[float]] = {"exact": [], "ivf_pq": []}
    for turn in range(5):
        batch = queries[turn * BATCH : (turn + 1) * BATCH]
        for name, search in (("exact", index.shards.search), ("ivf_pq", index.search)):
            began = time.perf_counter()
            search(batch, K)
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/index-recall"))
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=STEPS, help="what is done already may be left out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if "vectors" in options.steps:
        read_real(options.out)
    if "shards" in options.steps:
        write_shards(options.out, options.count)
    if "index" in options.steps:
        write_index(options.out)
    if not {"index", "measure"} & set(options.steps):
        return 0
    result = measure(options.out)
    print(json.dumps(result))
    good = float(str(result["recall_at_50"])) >= 0.9 and float(str(result["time_ratio"])) <= 0.2
    return 0 if good and float(str(result["bytes_ratio"])) <= 0.1 else 1


if __name__ == "__main__":
    sys.exit(main())
