"""An index of a corpus on disk: what it was made of, checked when it is opened, and the search in it.

A flat index is exact. An IVF-PQ index keeps a few bytes per chunk (Jégou, Douze and Schmid 2011, "Product quantization
for nearest neighbor search"): it proposes chunks, and their exact vectors, which lie beside it, put them in order.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from concept_forget.errors import DataError
from concept_forget.mine.shards import Shards

if TYPE_CHECKING:
    import faiss
    import numpy as np
    from numpy.typing import NDArray

    from concept_forget.sentence_encoder import Encoder

Kind = Literal["flat", "ivf_pq"]
FORMAT = 1
MANIFEST = "index.json"
COMPRESSED = "ivf_pq.faiss"
DEPTH = 8
"""So many times the chunks that are wanted are proposed by an IVF-PQ index and put in order exactly."""
GATHERED = 32_768
"""Exact vectors looked up at once."""
_REMEDY = "make the index again with `concept-forget index`, or take `mine.index` out"


@dataclass(frozen=True, slots=True)
class IndexManifest:
    """What an index was made of. ``recall`` is measured against the exact search; None for a flat one."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Kind
    factory: str
    encoder: str
    encoder_identity: str
    dimension: int
    chunk_characters: int
    corpus: list[Any]
    documents: int
    skipped: list[dict[str, Any]]
    shards: list[int]
    files: dict[str, int]  # name → bytes
    nprobe: int = 0
    recall: dict[str, Any] | None = None
    format: int = FORMAT

    @property
    def chunks(self) -> int:
        """Chunks in it."""
        return sum(self.shards)


class CorpusIndex:
    """An open index. The files stay on disk, mapped into memory where they are used.

    Args:
        folder: What ``concept-forget index`` wrote.

    Raises:
        DataError: It is none, of another format, or a file is missing or of another size.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder)
        for name, size in self.manifest.files.items():
            found = (folder / name).stat().st_size if (folder / name).is_file() else None
            if found != size:
                state = "it is missing" if found is None else f"it has {found}"
                raise DataError(
                    f"{MANIFEST} says that the file has {size} bytes, and {state}",
                    file=folder / name,
                    key="mine.index",
                    remedy=_REMEDY,
                )
        self.shards = Shards(folder, self.manifest.shards, self.manifest.dimension)

    def check(self, encoder: Encoder, chunk_characters: int, marks: Sequence[object]) -> None:
        """Refuse an index that was made otherwise than the config says.

        Args:
            encoder: The config's.
            chunk_characters: The config's.
            marks: What ``hash_sources`` says of the config's corpus.

        Raises:
            DataError: Of another encoder, another corpus, or chunks of another length.
        """
        own = self.manifest
        if own.encoder_identity != encoder.identity:
            self._refuse(f"it was made by the encoder {own.encoder}, and `mine.embedder` is another: {encoder.name}")
        if own.chunk_characters != chunk_characters:
            self._refuse(
                f"its chunks have up to {own.chunk_characters} characters, and `mine.chunk_characters` is "
                f"{chunk_characters}"
            )
        if own.corpus != describe_corpus(marks):
            self._refuse("it was made of another corpus than `corpus` names, or its files have changed since")

    def check_dimension(self, dimension: int) -> None:
        """Refuse vectors of another length.

        Raises:
            DataError: The encoder gives vectors of another dimension.
        """
        if self.manifest.dimension != dimension:
            self._refuse(f"its vectors have {self.manifest.dimension} dimensions, those of `mine.embedder` {dimension}")

    def _refuse(self, problem: str) -> None:
        raise DataError(problem, file=self.folder / MANIFEST, key="mine.index", remedy=_REMEDY)

    @functools.cached_property
    def compressed(self) -> faiss.Index:
        """The IVF-PQ index, its lists mapped from disk."""
        import faiss

        index = faiss.read_index(str(self.folder / COMPRESSED), faiss.IO_FLAG_MMAP)
        faiss.extract_index_ivf(index).nprobe = self.manifest.nprobe
        return index

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest chunks to each query: exactly in a flat index, else among what IVF-PQ proposes.

        Args:
            queries: Of length one, shape (queries, dimension).
            k: Chunks per query, at most.

        Returns:
            Exact cosines, best first, and rows, each of shape (queries, k); row -1 and score -2 where nothing is left.
        """
        k = min(k, len(self.shards))
        if self.manifest.kind == "flat":
            return self.shards.search(queries, k)
        _, proposed = self.compressed.search(queries, min(DEPTH * k, len(self.shards)))
        return rank_exactly(self.shards, queries, proposed, k)


def rank_exactly(
    shards: Shards, queries: NDArray[np.float32], proposed: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Put proposed chunks in the order of their exact cosines, query by query.

    Args:
        shards: Hold the exact vectors.
        queries: Shape (queries, dimension).
        proposed: Rows, -1 for none, shape (queries, proposed).
        k: How many to keep.

    Returns:
        Cosines and rows, each of shape (queries, k); -2 and -1 where fewer were proposed.
    """
    import numpy as np

    scores = np.full((len(queries), k), -2, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    at_once = max(1, GATHERED // max(1, proposed.shape[1]))
    for start in range(0, len(queries), at_once):
        part = proposed[start : start + at_once]
        known, places = np.unique(part, return_inverse=True)
        vectors = shards.vectors(known[known >= 0])
        shift = len(known) - len(vectors)  # -1 comes first, where it is there
        for number, (own, place) in enumerate(zip(part, places.reshape(part.shape), strict=True), start):
            found = own >= 0
            exact = vectors[place[found] - shift] @ queries[number]
            order = np.lexsort((own[found], -exact))[:k]
            scores[number, : len(order)], rows[number, : len(order)] = exact[order], own[found][order]
    return scores, rows


def describe_corpus(marks: Sequence[object]) -> list[Any]:
    """What tells one corpus from another: of every source its text column and the hashes of its files, or its commit.

    Where the files lie does not matter.

    Args:
        marks: From ``hash_sources``.
    """
    found: list[Any] = []
    for choice, hashes, commit in (mark for mark in marks if isinstance(mark, list)):
        files = [digest for _, digest in hashes]
        place = {} if files else {key: choice[key] for key in ("path", "name", "split")}
        found.append({"text": choice["text"], "files": files, "commit": commit, **place})
    return found


def to_json(manifest: IndexManifest) -> dict[str, Any]:
    """The manifest as it is written."""
    return asdict(manifest)


def _read_manifest(folder: Path) -> IndexManifest:
    path = folder / MANIFEST
    try:
        manifest = TypeAdapter(IndexManifest).validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError as error:
        raise DataError(f"there is no {MANIFEST} here", file=folder, key="mine.index", remedy=_REMEDY) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(
            f"this is no manifest of an index: {place}: {first['msg']}", file=path, key="mine.index", remedy=_REMEDY
        ) from error
    if odd := next((name for name in manifest.files if name in ("", "..") or Path(name).name != name), None):
        raise DataError(f"{MANIFEST} names the file {odd!r}", file=path, key="mine.index", remedy=_REMEDY)
    if manifest.format != FORMAT:
        raise DataError(
            f"the index has format {manifest.format!r}, this version reads {FORMAT}",
            file=path,
            key="mine.index",
            remedy=_REMEDY,
        )
    return manifest
