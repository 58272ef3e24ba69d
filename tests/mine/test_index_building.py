from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from concept_forget.config import CorpusSource
from concept_forget.config.verbs import MineConfig
from concept_forget.embedding import VECTORS, Embedder
from concept_forget.errors import DataError
from concept_forget.mine import index_building
from concept_forget.mine.index_building import build_index, measure_recall, train_ivf_pq, tune
from concept_forget.mine.indexes import COMPRESSED, CorpusIndex, IndexManifest
from concept_forget.mine.shards import Shards, ShardWriter
from concept_forget.sentence_encoder import SentenceEncoder

TEXTS = [f"The {thing} was repaired in {month}." for thing in ("mill", "canal", "forge") for month in ("May", "June")]


def build(path: str, out: Path, kind: Any = "flat", said: list[str] | None = None, **settings: Any) -> IndexManifest:
    say: Callable[[str], None] = (said if said is not None else []).append
    return build_index([CorpusSource(path=path)], out, kind, MineConfig(**settings), say)


def test_a_flat_index_holds_the_chunks_of_the_corpus_and_their_vectors(
    write_rows: Callable[..., str], tmp_path: Path, embedder: Embedder
) -> None:
    path = write_rows(*({"text": text} for text in TEXTS), '{"text": \n', {"text": TEXTS[0]})
    manifest = build(path, tmp_path / "index")
    index = CorpusIndex(tmp_path / "index")
    assert index.manifest == manifest
    assert (manifest.chunks, manifest.documents, manifest.dimension) == (7, 7, 384)
    assert [(row["file"], row["line"]) for row in manifest.skipped] == [(path, 7)]
    ((chunks, vectors),) = index.shards.blocks()
    assert [chunk.text for chunk in chunks] == [*TEXTS, TEXTS[0]]
    assert [chunk.document for chunk in chunks][-2:] == [f"{path}:6", f"{path}:8"]
    assert np.allclose(vectors, embedder.encode([*TEXTS, TEXTS[0]]), atol=1e-5)
    assert not list((tmp_path / "index").glob(f"{VECTORS}*"))
    assert not (tmp_path / "index.partial").exists()


KILLED = """
import os, sys
from pathlib import Path
from concept_forget.config import CorpusSource
from concept_forget.config.verbs import MineConfig
from concept_forget.embedding import VectorStore
from concept_forget.mine.index_building import build_index
keep = VectorStore.add
def add(self, vectors):
    keep(self, vectors)
    os.kill(os.getpid(), 9)
VectorStore.add = add
build_index([CorpusSource(path=sys.argv[1])], Path(sys.argv[2]), "flat", MineConfig(batch_tokens=16), print)
"""


@pytest.mark.long
def test_a_killed_call_leaves_no_index_and_the_next_one_goes_on_from_its_vectors(
    write_rows: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_rows(*({"text": text} for text in TEXTS))
    done = subprocess.run([sys.executable, "-c", KILLED, path, str(tmp_path / "index")], capture_output=True)
    assert done.returncode == -9, done.stderr
    assert not (tmp_path / "index").exists()
    computed: list[str] = []
    encode = SentenceEncoder.encode

    def count(self: SentenceEncoder, texts: list[str]) -> Any:
        computed.extend(texts)
        return encode(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode", count)
    build(path, tmp_path / "index", batch_tokens=16)
    assert 0 < len(computed) < len(TEXTS)
    assert CorpusIndex(tmp_path / "index").manifest.chunks == len(TEXTS)


def test_a_folder_with_something_in_it_is_refused(write_rows: Callable[..., str], tmp_path: Path) -> None:
    path = write_rows({"text": "A mill."})
    (tmp_path / "index").mkdir()
    (tmp_path / "index/notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="something here already"):
        build(path, tmp_path / "index")


def test_a_corpus_too_small_to_compress_is_refused(write_rows: Callable[..., str], tmp_path: Path) -> None:
    path = write_rows(*({"text": text} for text in TEXTS))
    with pytest.raises(DataError, match=r"needs 1024 chunks.*has 6(?s:.*)--kind flat"):
        build(path, tmp_path / "index", "ivf_pq")


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """4000 vectors around 200 centres."""
    folder = tmp_path_factory.mktemp("clustered")
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.standard_normal((200, 64)), 20, axis=0) + 0.6 * rng.standard_normal((4000, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    writer = ShardWriter(folder, 64, rows=1500)
    from concept_forget.mine.chunks import Chunk

    writer.add([Chunk("d", n, n + 1, str(n)) for n in range(4000)], rng.permutation(vectors))
    return Shards(folder, writer.finish(), 64)


def test_as_many_lists_are_looked_through_as_the_recall_needs(clustered: Shards, tmp_path: Path) -> None:
    factory, index = train_ivf_pq(clustered)
    assert factory == "IVF64,PQ16x4"
    for _, vectors in clustered.blocks():
        index.add(vectors)
    nprobe, recall = tune(index, clustered)
    assert recall["value"] >= 0.9
    assert recall["k"] == 50
    assert recall["queries"] == 200
    # Measured once more, by other means, on other queries: fresh points near the centres.
    rng = np.random.default_rng(5)
    known = clustered.vectors(np.arange(4000))
    queries = known[rng.choice(4000, 100)] + 0.05 * rng.standard_normal((100, 64)).astype(np.float32)
    exact = np.argsort(-(queries @ known.T), axis=1)[:, :50]
    index.nprobe = nprobe
    _, proposed = index.search(queries, 8 * 50)
    shares = []
    for query, row, right in zip(queries, proposed, exact, strict=True):
        ranked = sorted((n for n in row.tolist() if n >= 0), key=lambda n: -float(query @ known[n]))[:50]
        shares.append(len(set(ranked) & set(right.tolist())) / 50)
    assert abs(np.mean(shares) - recall["value"]) < 0.05
    if nprobe > 1:
        faiss.extract_index_ivf(index).nprobe = 1
        _, few = index.search(queries, 400)
        kept = [len(set(row.tolist()) & set(right.tolist())) / 50 for row, right in zip(few, exact, strict=True)]
        assert np.mean(kept) < np.mean(shares)


def test_recall_leaves_the_query_itself_out() -> None:
    exact = np.array([[7, 1, 2], [8, 3, 4]])
    assert measure_recall(exact, exact, np.array([7, 8]), 2) == 1
    assert measure_recall(exact, np.array([[1, 7, 9], [8, 5, 6]]), np.array([7, 8]), 2) == 0.25
    assert (
        measure_recall(np.array([[1, 2, 3]]), np.array([[2, 1, 3]]), np.array([9]), 2) == 1
    )  # a copy stands before it


def test_a_compressed_index_tells_its_size_and_recall(
    write_rows: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_building, "QUERIES", 40)
    monkeypatch.setattr(index_building, "LEAST", 300)
    things = [f"{adjective} {noun}" for adjective in "old new red low tall".split() for noun in "mill canal forge inn bridge tower ferry".split()]  # fmt: skip
    rows = [{"text": f"The {thing} opened in {year}."} for thing in things for year in range(1900, 1910)]
    said: list[str] = []
    manifest = build(write_rows(*rows), tmp_path / "index", "ivf_pq", said)
    assert manifest.recall is not None
    assert any(line.startswith(f"recall   {manifest.recall['value']:.3f} of the exact 50 nearest") for line in said)
    index = CorpusIndex(tmp_path / "index")
    assert index.compressed.ntotal == len(rows) == manifest.chunks
    assert (tmp_path / "index" / COMPRESSED).stat().st_size == manifest.files[COMPRESSED]
    assert json.loads((tmp_path / "index/index.json").read_text())["nprobe"] == index.compressed.nprobe >= 1
    lists = faiss.downcast_InvertedLists(index.compressed.invlists)
    assert isinstance(lists, faiss.OnDiskInvertedLists)  # they are not read into memory


def test_the_command_makes_an_index(write_rows: Callable[..., str], tmp_path: Path) -> None:
    path = write_rows(*({"body": text} for text in TEXTS))
    command = [sys.executable, "-m", "concept_forget.cli", "index", path, "--out", str(tmp_path / "made")]
    done = subprocess.run([*command, "--text", "body", "--chunk-characters", "60"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "6 of 6 documents" in done.stdout
    assert CorpusIndex(tmp_path / "made").manifest.chunk_characters == 60
