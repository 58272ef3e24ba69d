"""Mining against stock ``SentenceTransformer.encode`` and ``util.semantic_search``, over four sizes of a corpus.

    python tests/benchmarks/mining_speed.py
    python tests/benchmarks/mining_speed.py --sizes 2500 5000 --out runs/bench/mining
    python tests/benchmarks/mining_speed.py --texts sandbox --sizes 5000

All three ways get the same encoder, the same queries and the same texts of mixed length: real ones
(``real_chunks.py``), or those of the sandbox (``mining_corpus.py``), many of which say nearly the same:

- ``stock`` loads the encoder, encodes every chunk at its defaults, and searches for the 50 best of each query;
- ``none`` is the stage `mine` with `cascade: none` and `precision: auto`, from the corpus's file to snippets on disk;
  beyond what stock does it cuts texts, keeps every vector, calibrates its cut-off and looks for names;
- ``hybrid`` is the same with `cascade: hybrid`, the check of its recall included.

What is made once for a machine and an encoder (the trial of precisions, the static embeddings) is made before, and its
time stands apart. ``overlap`` is the mean share, over queries, of stock's 50 best that are among the 50 best by the
vectors of ``none``; ``recall`` the share of the snippets of ``none`` that ``hybrid`` returns too. Ratios are of one run.
Prints a table and one JSON object, also written to ``results.json`` in ``--out``, where what is measured is kept: an
interrupted run goes on. Leaves with 1 where the largest size misses a bound.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mining_corpus
import numpy as np
import real_chunks
import torch
from mining_recall import mine
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, util
from sizes import add_options, growth, kept_in, once, publish, table

from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.mine.queries import make_target
from concept_forget.mine.static import find_static
from concept_forget.precision import choose_precision
from concept_forget.workspace import read_json, write_json

SIZES = (1000, 2000, 4000, 20_000)
BEST = 50
BLOCK = 5000
"""Chunks that stock encodes in one call: what an interrupted run loses at most."""
SUBJECTS = {"sandbox": mining_corpus.questions, "docstrings": real_chunks.subject}
LEAST = {"none": 2.5, "hybrid": 10.0, "overlap": 0.98, "recall": 0.95}


def prepare(cache: Path) -> dict[str, Any]:
    """Make what is made once, and say how long that took."""
    encoder = find_encoder("auto")
    began = time.perf_counter()
    _, trial = choose_precision(encoder, None, cache)
    tried = time.perf_counter()
    find_static(encoder)
    return {
        "precision": trial,
        "trial_seconds": round(tried - began, 1),
        "static_seconds": round(time.perf_counter() - tried, 1),  # next to nothing where they were there already
    }


def documents(kind: str, size: int) -> list[str]:
    """A corpus of about so many chunks, which blank lines part."""
    if kind == "docstrings":
        return [chunk.text for chunk in real_chunks.chunks(size)]
    return [document.text for document in mining_corpus.documents(size)]


def run_stock(folder: Path, kind: str, texts: list[str]) -> dict[str, Any]:
    """Encode in blocks, each kept when it is done, and search."""
    encoder = find_encoder("auto")
    queries = list(make_target(*SUBJECTS[kind]()).queries)
    seconds, parts = 0.0, []
    for start in range(0, len(texts), BLOCK):
        part = folder / f"stock-{start}.npz"
        if not part.is_file():
            began = time.perf_counter()
            model = SentenceTransformer(str(encoder.folder), local_files_only=True)
            vectors = model.encode(texts[start : start + BLOCK], show_progress_bar=False)
            np.savez(folder / "beside.npz", vectors=vectors, seconds=time.perf_counter() - began)
            (folder / "beside.npz").replace(part)
        kept = np.load(part)
        parts.append(kept["vectors"])
        seconds += float(kept["seconds"])
    began = time.perf_counter()
    model = SentenceTransformer(str(encoder.folder), local_files_only=True)
    loaded = time.perf_counter()
    hits = util.semantic_search(
        model.encode(queries, convert_to_tensor=True), torch.from_numpy(np.concatenate(parts)), top_k=BEST
    )
    seconds += time.perf_counter() - loaded
    seconds -= (len(parts) - 1) * (loaded - began)  # one call would have loaded the model once
    write_json(folder / "stock-best.json", [[hit["corpus_id"] for hit in found] for found in hits])
    return {"seconds": seconds}


def run_mine(folder: Path, kind: str, cascade: str) -> dict[str, Any]:
    """Mine the corpus into a folder of its own."""
    work = folder / f"vectors-{cascade}"
    shutil.rmtree(work, ignore_errors=True)
    summary, snippets, seconds = mine(folder, cascade, work, SUBJECTS[kind](), cascade=cascade, precision="auto")
    return {
        "seconds": seconds,
        "scored": summary["scored"],
        "precision": summary["precision"]["precision"],
        "snippets": [snippet.id for snippet in snippets if not snippet.near_miss],
        "cut_off": next(iter(summary["concepts"].values()))["cut_off"],
    }


def overlap(folder: Path, kind: str, texts: list[str], precision: Any) -> float:
    """Mean share of stock's best that are among the best by the vectors that ``none`` kept."""
    embedder = Embedder(find_encoder("auto"), folder / "vectors-none" / VECTORS, precision=precision)
    queries: NDArray[np.float32] = embedder.encode(make_target(*SUBJECTS[kind]()).queries)
    scores = queries @ embedder.encode(texts).T  # (queries, chunks)
    assert embedder.flops == 0
    embedder.close()
    own = np.argsort(-scores, axis=1)[:, :BEST]
    stock = read_json(folder / "stock-best.json")
    return float(np.mean([len(set(a) & set(b)) / BEST for a, b in zip(own.tolist(), stock, strict=True)]))


def measure(folder: Path, kind: str, size: int) -> dict[str, Any]:
    """All three ways at one size."""
    folder.mkdir(parents=True, exist_ok=True)
    found = documents(kind, size)
    mining_corpus.write(folder / "corpus.jsonl", found)
    texts = [text for document in found for text in document.split("\n\n")]
    stock = once(folder / "stock.json", lambda: run_stock(folder, kind, texts))
    none = once(folder / "none.json", lambda: run_mine(folder, kind, "none"))
    hybrid = once(folder / "hybrid.json", lambda: run_mine(folder, kind, "hybrid"))
    wanted, got = set(none["snippets"]), set(hybrid["snippets"])
    return {
        "chunks": len(texts),
        "characters": round(float(np.mean([len(text) for text in texts]))),
        **{
            name: {"seconds": round(way["seconds"], 2), "per_second": round(len(texts) / way["seconds"], 1)}
            for name, way in (("stock", stock), ("none", none), ("hybrid", hybrid))
        },
        "ratio": {
            name: round(stock["seconds"] / way["seconds"], 2) for name, way in (("none", none), ("hybrid", hybrid))
        },
        "scored": hybrid["scored"],
        "overlap": round(overlap(folder, kind, texts, none["precision"]), 4),
        "recall": round(len(wanted & got) / len(wanted), 4) if wanted else 1.0,
        "same_cut_off": none["cut_off"] == hybrid["cut_off"],
    }


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    return table(
        ("chunks", "stock", "`none`", "`hybrid`", "faster: `none`", "`hybrid`", "overlap", "recall"),
        [
            (
                f"{row['chunks']:,}",
                *(f"{row[name]['seconds']:.0f} s" for name in ("stock", "none", "hybrid")),
                *(f"{row['ratio'][name]:.1f} ×" for name in ("none", "hybrid")),
                f"{row['overlap']:.3f}",
                f"{row['recall']:.3f}",
            )
            for row in rows
        ],
    )


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, SIZES, "chunks")
    parser.add_argument("--texts", choices=SUBJECTS, default="docstrings")
    options = parser.parse_args()
    with kept_in(options.out, texts=options.texts) as folder:
        before = once(folder / "once.json", lambda: prepare(folder))
        rows = [measure(folder / str(size), options.texts, size) for size in sorted(options.sizes)]
        chunks = [row["chunks"] for row in rows]
        ways = {name: growth(chunks, [row[name]["seconds"] for row in rows]) for name in ("stock", "none", "hybrid")}
        publish(folder, show(rows), {**before, "sizes": rows, "growth": ways})
    last = {**rows[-1]["ratio"], "overlap": rows[-1]["overlap"], "recall": rows[-1]["recall"]}
    return 0 if all(last[name] >= least for name, least in LEAST.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
