"""What the cascade finds of what the encoder finds when it reads everything, and of what was planted.

    python tests/benchmarks/mining_recall.py
    python tests/benchmarks/mining_recall.py --chunks 20000 --out runs/mining-recall

One corpus of sandbox texts (see ``mining_corpus.py``) is mined twice, with `cascade: none` and with `cascade: hybrid`,
with what is the default otherwise but room for all that was planted, near copies included. Prints one JSON object:

- ``snippets``, ``near_misses``: the share of what `none` returns that the cascade returns;
- ``above``: the share of all chunks above the cut-off, whatever they name, that the cascade's encoder read, and beside
  it what ``recall_check`` estimated, with its interval;
- ``planted``: the share of the planted chunks that came back as snippets, with the interval's lower end, for both; and
  ``read``, the share that the encoder read at all.

Leaves with 1 where the cascade's recall of snippets is under 0.95 of `none`, or the lower end for what was planted is
under 0.90. Vectors are kept in ``--out``: a second call encodes nothing again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mining_corpus
import numpy as np

from concept_forget.config import Config
from concept_forget.embedding import VECTORS, Embedder, find_encoder
from concept_forget.measures.conformal import DECIMALS
from concept_forget.measures.statistics import rate_interval
from concept_forget.mine import stage
from concept_forget.mine.calibration import build_index
from concept_forget.mine.queries import make_target
from concept_forget.records import Snippet
from concept_forget.workspace import Costs, StageContext, read_records, write_records

LEAST_OF_NONE = 0.95
LEAST_OF_PLANTED = 0.90
ROOM = 400
"""Snippets kept at most: more than there can be."""


def mine(
    folder: Path, name: str, vectors: Path, subject: mining_corpus.Subject | None = None, **settings: Any
) -> tuple[dict[str, Any], list[Snippet], float]:
    """Mine the corpus of a folder, and say how long it took.

    Args:
        folder: Holds ``corpus.jsonl``; gets what the stage writes.
        name: Of the stage's folder.
        vectors: Folder of the kept vectors.
        subject: Concept, facts and questions; None: those of the sandbox.
        settings: Of ``mine``.
    """
    concept, facts, asked = subject or mining_corpus.questions()
    expand, work = folder / "expand", folder / name
    write_records(expand / "facts.jsonl", facts)
    write_records(expand / "questions.jsonl", asked)
    work.mkdir(exist_ok=True)
    vectors.mkdir(exist_ok=True)
    config = Config.model_validate(
        {
            "concept": concept.model_dump(),
            "target": "some/model",
            "corpus": [str(folder / "corpus.jsonl")],
            "mine": {"top_k": ROOM, "near_duplicates": None, **settings},
        }
    )
    context = StageContext(config, work, {"expand": expand}, {}, vectors / "replies.sqlite", Costs())
    began = time.perf_counter()
    summary = stage.run(context)
    seconds = time.perf_counter() - began
    return summary, read_records(Snippet, work / "snippets.jsonl"), seconds


def measure(folder: Path, chunks: int, precision: str, proposals: int) -> dict[str, Any]:
    """Mine in both ways and compare."""
    found = mining_corpus.documents(chunks)
    mining_corpus.write(folder / "corpus.jsonl", [document.text for document in found])
    shared: dict[str, Any] = {"precision": precision, "proposals": proposals}
    whole, every, _ = mine(folder, "none", folder / "vectors", cascade="none", **shared)
    part, some, _ = mine(folder, "hybrid", folder / "vectors", cascade="hybrid", **shared)
    numbers = {
        name: summary["concepts"][mining_corpus.CONCEPT] for name, summary in (("none", whole), ("hybrid", part))
    }
    assert numbers["none"]["cut_off"] == numbers["hybrid"]["cut_off"]
    known = [document for document in found if document.planted is not None]
    unnamed = [document for document in known if not document.is_named]
    above = _above(folder, found, numbers["none"]["cut_off"], part["precision"]["precision"])
    return {
        "chunks": whole["chunks"],
        "scored": part["scored"],
        "cut_off": numbers["none"]["cut_off"],
        "snippets": _share(every, some, near_miss=False),
        "near_misses": _share(every, some, near_miss=True),
        "above": {
            "all": above,
            "read": numbers["hybrid"]["recall"]["found"],
            "true": round(numbers["hybrid"]["recall"]["found"] / above, 4),
            "estimate": numbers["hybrid"]["recall"],
        },
        "planted": {
            "chunks": len(known),
            "unnamed": len(unnamed),
            **{
                name: {"all": _planted(known, returned), "unnamed": _planted(unnamed, returned)}
                for name, returned in (("none", every), ("hybrid", some))
            },
        },
    }


def _share(every: list[Snippet], some: list[Snippet], *, near_miss: bool) -> dict[str, Any]:
    ids = [{s.id for s in snippets if s.near_miss == near_miss} for snippets in (every, some)]
    return {"none": len(ids[0]), "hybrid": len(ids[1]), "recall": round(len(ids[0] & ids[1]) / max(1, len(ids[0])), 4)}


def _planted(documents: list[mining_corpus.Document], returned: list[Snippet]) -> dict[str, float]:
    texts = {snippet.text for snippet in returned if not snippet.near_miss}
    interval = rate_interval([float(document.planted in texts) for document in documents])
    return {"recall": round(interval.value, 4), "low": round(interval.low, 4)}


def _above(folder: Path, documents: list[mining_corpus.Document], cut_off: float, precision: Any) -> int:
    """How many different chunks pass the cut-off, read from the vectors that are kept."""
    texts = sorted({text for document in documents for text in document.text.split("\n\n")})
    embedder = Embedder(find_encoder("auto"), folder / "vectors" / VECTORS, precision=precision)
    queries = build_index(embedder.encode(make_target(*mining_corpus.questions()).queries))
    best, _ = queries.search(embedder.encode(texts), 1)
    assert embedder.flops == 0
    embedder.close()
    return int((np.round(best[:, 0], DECIMALS) > cut_off).sum())


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--precision", choices=("float32", "bfloat16", "auto"), default="auto")
    parser.add_argument("--proposals", type=int, default=500)
    parser.add_argument("--out", type=Path, help="a folder that keeps the vectors; else one that goes away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(folder, options.chunks, options.precision, options.proposals)
    print(json.dumps(result, indent=2))
    good = result["snippets"]["recall"] >= LEAST_OF_NONE
    return 0 if good and result["planted"]["hybrid"]["all"]["low"] >= LEAST_OF_PLANTED else 1


if __name__ == "__main__":
    sys.exit(main())
