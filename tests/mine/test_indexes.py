from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concept_forget.config import Config, CorpusSource
from concept_forget.config.verbs import MineConfig
from concept_forget.embedding import Encoder, find_encoder
from concept_forget.errors import ConfigError, DataError
from concept_forget.mine import indexes, stage
from concept_forget.mine.chunks import Chunk
from concept_forget.mine.corpus import find_sources, hash_sources
from concept_forget.mine.index_building import build_index
from concept_forget.mine.indexes import MANIFEST, CorpusIndex, rank_exactly
from concept_forget.mine.shards import Shards, ShardWriter

TEXTS = ("The mill was repaired.", "The canal froze over.")


@pytest.fixture
def made(write_rows: Callable[..., str], tmp_path: Path) -> tuple[str, Path]:
    path = write_rows(*({"text": text} for text in TEXTS))
    build_index([CorpusSource(path=path)], tmp_path / "index", "flat", MineConfig(), lambda line: None)
    return path, tmp_path / "index"


def check(path: str, folder: Path, encoder: Encoder | None = None, characters: int = 500, column: str = "text") -> None:
    sources = find_sources([CorpusSource(path=path, text=column)])
    CorpusIndex(folder).check(encoder or find_encoder("auto"), characters, hash_sources(sources))


def test_the_corpus_that_it_was_made_of_is_known_by_its_content(made: tuple[str, Path], tmp_path: Path) -> None:
    path, folder = made
    check(path, folder)
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_bytes(Path(path).read_bytes())
    check(str(moved), folder)


def test_another_corpus_column_encoder_or_length_is_refused(made: tuple[str, Path]) -> None:
    path, folder = made
    with pytest.raises(DataError, match=r"mine\.index: its chunks have up to 500 characters.*is 400"):
        check(path, folder, characters=400)
    with pytest.raises(DataError, match=r"made by the encoder sentence-transformers/all-MiniLM-L6-v2.*another: other"):
        check(path, folder, Encoder("other", Path(), "0123"))
    with pytest.raises(DataError, match="another corpus"):
        check(path, folder, column="body")
    with Path(path).open("a", encoding="utf-8") as file:
        file.write('{"text": "The forge was sold."}\n')
    with pytest.raises(DataError, match=r"index\.json: mine\.index: it was made of another corpus.*changed since"):
        check(path, folder)


def test_vectors_of_another_dimension_are_refused(made: tuple[str, Path]) -> None:
    index = CorpusIndex(made[1])
    index.check_dimension(384)
    with pytest.raises(DataError, match=r"384 dimensions, those of `mine\.embedder` 768"):
        index.check_dimension(768)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda values: values | {"format": 2}, "has format 2, this version reads 1"),
        (lambda values: values | {"colour": "red"}, "no manifest of an index"),
        (lambda values: {}, "no manifest of an index"),
        (lambda values: [values], "no manifest of an index"),
        (lambda values: values | {"files": [1]}, "no manifest of an index"),
        (lambda values: values | {"shards": ["a"]}, "no manifest of an index"),
        (lambda values: values | {"files": {"../../elsewhere": 3}}, r"names the file '\.\./\.\./elsewhere'"),
    ],
)
def test_a_manifest_that_is_none_is_refused(
    made: tuple[str, Path], change: Callable[[dict[str, Any]], Any], problem: str
) -> None:
    file = made[1] / MANIFEST
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(DataError, match=problem):
        CorpusIndex(made[1])


def test_a_manifest_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(DataError, match="no manifest of an index"):
        CorpusIndex(tmp_path)


def test_a_folder_or_file_that_is_missing_or_cut_short_is_refused(made: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no index\.json here(?s:.*)concept-forget index"):
        CorpusIndex(tmp_path / "nowhere")
    file = made[1] / "flat-00000.faiss"
    content = file.read_bytes()
    file.write_bytes(content[:-8])
    with pytest.raises(DataError, match=rf"flat-00000.*has {len(content)} bytes, and it has {len(content) - 8}"):
        CorpusIndex(made[1])
    file.unlink()
    with pytest.raises(DataError, match="and it is missing"):
        CorpusIndex(made[1])


def test_a_config_that_names_another_index_is_refused_before_anything_is_done(made: tuple[str, Path]) -> None:
    path, folder = made
    values = {"concept": {"name": "Mira"}, "target": "m", "generator": {"engine": "target"}, "corpus": [path]}
    good = Config.model_validate({**values, "mine": {"index": str(folder)}})
    without = Config.model_validate(values)
    assert stage.fingerprint_parts(good) != stage.fingerprint_parts(without)
    bad = Config.model_validate({**values, "mine": {"index": str(folder), "chunk_characters": 300}})
    with pytest.raises(DataError, match="300"):
        stage.fingerprint_parts(bad)
    none = Config.model_validate({**values, "corpus": [], "mine": {"index": str(folder)}})
    with pytest.raises(ConfigError, match=r"mine\.index: an index is named and no corpus"):
        stage.fingerprint_parts(none)


@pytest.mark.parametrize("gathered", [1, 12, 1000])
def test_proposed_chunks_are_put_in_the_order_of_their_exact_cosines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gathered: int
) -> None:
    monkeypatch.setattr(indexes, "GATHERED", gathered)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20, 6)).astype(np.float32)
    writer = ShardWriter(tmp_path, 6, rows=8)
    writer.add([Chunk("d", n, n, "") for n in range(20)], vectors)
    shards = Shards(tmp_path, writer.finish(), 6)
    queries = rng.standard_normal((3, 6)).astype(np.float32)
    proposed = np.array([[3, 19, 8, 0, -1, -1], [5, 7, -1, -1, -1, -1], [19, 2, 3, 4, 5, 6]])
    scores, rows = rank_exactly(shards, queries, proposed, 3)
    exact = queries @ vectors.T
    assert rows[0].tolist() == sorted([3, 19, 8, 0], key=lambda n: -exact[0, n])[:3]
    assert rows[1].tolist() == [*sorted([5, 7], key=lambda n: -exact[1, n]), -1]
    assert rows[2].tolist() == sorted([19, 2, 3, 4, 5, 6], key=lambda n: -exact[2, n])[:3]
    assert np.allclose(scores[0], exact[0, rows[0]], atol=1e-6)
    assert scores[1, 2] == -2
