from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concept_forget.config import CorpusSource
from concept_forget.errors import DataError
from concept_forget.mine.corpus import Corpus, Skipped, Source, find_sources, hash_sources
from concept_forget.mine.readers import Piece
from concept_forget.mine.remote import fetched, find_remote, is_remote

ROWS = [{"text": f"Row {number} of the corpus."} for number in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
OBJECTS = {
    "data/a.jsonl": LINES + b"{broken\n",
    "data/b.jsonl.gz": gzip.compress(LINES),
    "data/deep/c.txt": b"One paragraph.\n\nAnother.",
    "data/.hidden.jsonl": LINES,
    "data/d.bin": b"\0",
    "other/e.jsonl": LINES,
}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, serve_objects: Callable[..., Any]) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with serve_objects(OBJECTS) as found:
        yield found


def sources_of(*patterns: str) -> list[Source]:
    return find_sources([CorpusSource(path=pattern) for pattern in patterns])


def read(sources: list[Source]) -> tuple[list[Piece], list[Skipped], int]:
    corpus = Corpus(sources, 100_000)
    return list(corpus.pieces()), corpus.skipped, corpus.bytes_read


@pytest.mark.parametrize(
    ("pattern", "remote"),
    [
        ("s3://bucket/a/*.jsonl", True),
        ("gs://bucket/a.jsonl?x=1", True),
        ("data/*.jsonl", False),
        ("owner/set", False),
        ("http://example/a.jsonl", False),
    ],
)
def test_an_address_in_a_store_is_told_from_paths_and_sets(pattern: str, remote: bool) -> None:
    assert is_remote(pattern) is remote


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("data/a.jsonl", ["data/a.jsonl"]),
        ("data/*.jsonl*", ["data/a.jsonl", "data/b.jsonl.gz"]),
        ("data/**/*.txt", ["data/deep/c.txt"]),
        ("data", ["data/a.jsonl", "data/b.jsonl.gz", "data/d.bin", "data/deep/c.txt"]),
        ("*/[ae].jsonl", ["data/a.jsonl", "other/e.jsonl"]),
    ],
)
def test_a_file_a_folder_and_a_pattern_stand_for_their_files(store: Any, path: str, names: list[str]) -> None:
    found = find_remote(store.address(path), "corpus.0.path")
    assert [file.name for file in found] == [f"s3://bucket/{name}" for name in names]
    assert [file.size for file in found] == [len(OBJECTS[name]) for name in names]


def test_a_file_is_fetched_as_it_is_and_not_kept(store: Any) -> None:
    [file] = find_remote(store.address("data/b.jsonl.gz"), "corpus.0.path")
    with fetched(file.address) as copy:
        assert copy.read_bytes() == OBJECTS["data/b.jsonl.gz"]
        assert copy.name == "b.jsonl.gz"
    assert not copy.exists()


def test_what_is_read_there_is_what_is_read_here(store: Any, tmp_path: Path) -> None:
    for name, content in OBJECTS.items():
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    there = read(sources_of(store.address("data/*.jsonl*"), store.address("data/deep/c.txt")))
    files = [f"{tmp_path}/bucket/data/*.jsonl*", f"{tmp_path}/bucket/data/deep/c.txt"]
    pieces, skipped, size = read(sources_of(*files))
    assert len(pieces) == 12
    assert there == (
        [Piece(piece.document.replace(f"{tmp_path}/", "s3://"), piece.text, piece.start) for piece in pieces],
        [Skipped(entry.file.replace(f"{tmp_path}/", "s3://"), entry.line, entry.reason) for entry in skipped],
        size,
    )
    assert [entry.line for entry in skipped] == [6]


def test_a_file_that_two_entries_name_is_read_once(store: Any) -> None:
    sources = sources_of(store.address("data/a.jsonl"), store.address("data/*.jsonl"))
    assert [[file.name for file in source.remote] for source in sources] == [["s3://bucket/data/a.jsonl"]]
    assert Corpus(sources, 1000).size == len(OBJECTS["data/a.jsonl"])


def test_another_state_of_a_file_has_another_fingerprint(store: Any) -> None:
    before = hash_sources(sources_of(store.address("data/a.jsonl")))
    assert before == hash_sources(sources_of(store.address("data/a.jsonl")))
    store.objects["data/a.jsonl"] = LINES
    assert hash_sources(sources_of(store.address("data/a.jsonl"))) != before
    assert store.fetched == []


def test_an_address_of_nothing_is_refused_with_its_key(store: Any) -> None:
    for path in ("data/*.parquet", "nowhere"):
        with pytest.raises(DataError) as caught:
            sources_of(store.address("data/a.jsonl"), store.address(path))
        assert caught.value.key == "corpus.1.path"
        assert path in str(caught.value)


def test_a_store_that_refuses_is_named_with_a_remedy(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = store.address("data/*.jsonl").replace("s3://bucket", "s3://another")
    with pytest.raises(DataError, match="cannot be listed") as caught:
        sources_of(address)
    assert "environment" in caught.value.remedy


def test_a_file_that_went_away_is_told_with_its_key(store: Any) -> None:
    sources = sources_of(store.address("data/a.jsonl"))
    del store.objects["data/a.jsonl"]
    with pytest.raises(DataError, match="cannot be read") as caught:
        read(sources)
    assert caught.value.key == "corpus.0.path"


def test_a_key_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(DataError) as caught:
        sources_of("s3://user:sesame@bucket/data/*.jsonl")
    assert "sesame" not in str(caught.value)
    assert "AWS_ACCESS_KEY_ID" in caught.value.remedy
