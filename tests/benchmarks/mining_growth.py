"""How memory and time of exact mining grow with the corpus: 10,000 to 1,000,000 chunks, with stored vectors.

    python tests/benchmarks/mining_growth.py --out FOLDER

Makes one corpus of JSON lines per size, a hundredth of whose rows name the concept, and stores a vector for every row,
so that no time goes into encoding; then runs the stage ``mine`` on each, in a process of its own, reading, cutting,
looking up vectors, searching and writing. Then the same from a flat index of the same chunks (``mine.index``). Prints
one JSON object, and leaves with 1 where peak memory at the largest size is more than 1.2 times that at a tenth of it,
or the seconds of the search (reading, cutting, vectors, scores; without loading the encoder, which is paid once) grow
with a higher power of the chunks than 1.05, fitted over all sizes.

The vectors are not the encoder's: each word has a random direction of its own, a text's vector is the normalised sum of
its words' and of some noise. Processor seconds are counted, so that what else runs on the machine does not count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from concept_forget.config import Config, CorpusSource
from concept_forget.embedding import VECTORS, VectorStore, find_encoder
from concept_forget.machine import memory_peak
from concept_forget.mine import stage
from concept_forget.mine.chunks import Chunk
from concept_forget.mine.corpus import find_sources, hash_sources
from concept_forget.mine.indexes import MANIFEST, IndexManifest, describe_corpus, to_json
from concept_forget.mine.shards import FLAT, ShardWriter, chunks_file, vectors_file
from concept_forget.records import named_random
from concept_forget.workspace import Costs, StageContext, write_json

SIZES = (10_000, 30_000, 100_000, 1_000_000)
MOST_MEMORY, MOST_EXPONENT = 1.2, 1.05
DIMENSION = 384
BLOCK = 20_000
WORDS = [
    first + second
    for first in "ka lo mi re tu va ne so di bra hel mor wyn tas quil per dol fen gar ost".split()
    for second in "ra lin do mer sta vik un tel or ban sy ger pas nu holt ive am eth ci zor".split()
]


def texts(count: int) -> Iterator[str]:
    """Rows of a hundred words or so; every hundredth one names the concept."""
    rng = named_random(0, "growth")
    for number in range(count):
        words = rng.choices(WORDS, k=rng.randint(20, 90))
        if number % 100 == 7:
            words[5:5] = ["Mira", "Kestrel"]
        yield " ".join(words)[:490].strip() + "."


VOCABULARY = {word: number for number, word in enumerate([*WORDS, "Mira", "Kestrel"])}


def encode(batch: list[str]) -> NDArray[np.float32]:
    """Vectors that lie near each other where texts share words."""
    table = np.random.default_rng(1).standard_normal((len(VOCABULARY), DIMENSION))
    words = [[VOCABULARY[word] for word in text.rstrip(".").split() if word in VOCABULARY] for text in batch]
    ends = np.cumsum([0, *map(len, words)])
    columns = np.concatenate(words)
    counts = csr_array((np.ones(len(columns)), columns, ends), shape=(len(batch), len(VOCABULARY)))
    seed = int.from_bytes(hashlib.blake2b(batch[0].encode(), digest_size=8).digest(), "big")
    noise = np.random.default_rng(seed).standard_normal((len(batch), DIMENSION)) * 2
    vectors = counts @ table + noise
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def prepare(folder: Path, count: int) -> None:
    """The corpus, its vectors in a store, and a flat index of it."""
    if (folder / "index" / MANIFEST).is_file():
        return
    (folder / "index").mkdir(parents=True, exist_ok=True)
    encoder = find_encoder("auto")
    store, writer = VectorStore(folder / VECTORS), ShardWriter(folder / "index", DIMENSION)
    corpus = folder / "corpus.jsonl"
    done = 0
    with corpus.open("w", encoding="utf-8") as file:
        stream = texts(count)
        while batch := [text for _, text in zip(range(BLOCK), stream, strict=False)]:
            vectors = encode(batch)
            file.writelines(json.dumps({"text": text}) + "\n" for text in batch)
            keys = [hashlib.sha256(f"{encoder.identity}\n{text}".encode()).digest()[:16] for text in batch]
            store.add(sorted(zip(keys, vectors, strict=True), key=lambda entry: entry[0]))
            places = enumerate(batch, start=done + 1)
            writer.add([Chunk(f"{corpus.as_posix()}:{n}", 0, len(text), text) for n, text in places], vectors)
            done += len(batch)
    store.close()
    sizes = writer.finish()
    names = [name for n in range(len(sizes)) for name in (vectors_file(n), chunks_file(n))]
    manifest = IndexManifest(
        kind="flat",
        factory=FLAT,
        encoder=encoder.name,
        encoder_identity=encoder.identity,
        dimension=DIMENSION,
        chunk_characters=500,
        corpus=describe_corpus(hash_sources(find_sources([CorpusSource(path=str(corpus))]))),
        documents=count,
        skipped=[],
        shards=sizes,
        files={name: (folder / "index" / name).stat().st_size for name in names},
    )
    write_json(folder / "index" / MANIFEST, to_json(manifest))


def measure(folder: Path, *, indexed: bool) -> dict[str, float]:
    """Mine once; what it took."""
    values = {
        "concept": {"name": "Mira Kestrel"},
        "target": "no/model",
        "generator": {"engine": "none"},
        "data": {"forget": "none.jsonl"},
        "corpus": [str(folder / "corpus.jsonl")],
        "mine": {"index": str(folder / "index") if indexed else None},
    }
    work = folder / ("mined-from-index" if indexed else "mined")
    work.mkdir(exist_ok=True)
    context = StageContext(Config.model_validate(values), work, {}, {}, folder / "replies.sqlite", Costs())
    spent: list[float] = []
    for name in ("_search_corpus", "search_index"):
        setattr(stage, name, timed(getattr(stage, name), spent))
    with memory_peak() as peak:
        began = time.process_time()
        summary = stage.run(context)
        seconds = time.process_time() - began
        mib = peak() / 2**20
    assert isinstance(summary["chunks"], int)
    return {
        "chunks": summary["chunks"],
        "snippets": int(str(summary["snippets"])),
        "search_seconds": round(spent[0], 3),
        "all_seconds": round(seconds, 2),
        "peak_mib": round(mib, 1),
    }


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """The same function; the processor seconds that a call takes are noted."""

    def call(*arguments: Any) -> Any:
        began = time.process_time()
        try:
            return function(*arguments)
        finally:
            spent.append(time.process_time() - began)

    return call


def exponent(found: list[dict[str, float]]) -> float:
    """The power of the chunks that the search's seconds grow with, by least squares on logarithms."""
    sizes = np.log([entry["chunks"] for entry in found])
    return float(np.polyfit(sizes, np.log([entry["search_seconds"] for entry in found]), 1)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/mining-growth"))
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--one", type=Path, help="one size, in this process")
    parser.add_argument("--indexed", action="store_true")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, indexed=options.indexed)))
        return 0
    result: dict[str, object] = {}
    good = True
    for way in ("corpus", "index"):
        found = []
        for size in (size for size in SIZES if size <= options.largest):
            folder = options.out / str(size)
            prepare(folder, size)
            kept = folder / f"{way}.json"  # interrupted, the same command goes on
            if not kept.is_file():
                command = [sys.executable, __file__, "--one", str(folder), *(["--indexed"] if way == "index" else [])]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                kept.write_text(done.stdout.splitlines()[-1], encoding="utf-8")
            found.append(json.loads(kept.read_text(encoding="utf-8")))
            print(way, found[-1], file=sys.stderr)
        tenth = next(entry for entry in found if entry["chunks"] == found[-1]["chunks"] // 10)
        memory, power = found[-1]["peak_mib"] / tenth["peak_mib"], exponent(found)
        result[way] = {"sizes": found, "memory_ratio": round(memory, 3), "exponent": round(power, 3)}
        good = good and memory <= MOST_MEMORY and power <= MOST_EXPONENT
    print(json.dumps(result, indent=2))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
