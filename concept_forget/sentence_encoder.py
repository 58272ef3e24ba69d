"""Texts into vectors with a sentence-transformers model, batch by batch, in float32 or under bfloat16 autocast."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from concept_forget.config.verbs import Precision
from concept_forget.model_files import check_model, reading
from concept_forget.models import LOADING
from concept_forget.out_of_memory import in_halves, tell_halved, too_little, unless_out_of_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from torch import Tensor

    from concept_forget.records import ModelSpec

_KEY = "mine.embedder"
_NO_LIMIT = 1 << 20  # tokens; a model that names no limit has one of this order in its tokenizer


@dataclass(frozen=True, slots=True)
class Encoder:
    """A sentence-transformers model on this machine. ``identity`` is a hash of all its files that matter."""

    name: str
    folder: Path
    identity: str


class SentenceEncoder:
    """A sentence-transformers model on one device, loaded when it is first needed.

    Args:
        folder: The model's folder: safetensors, and no code of its own.
        precision: ``float32``, or ``bfloat16``: matrix products under autocast.
        device: As torch names it; None: the accelerator where there is one.
    """

    def __init__(self, folder: Path, precision: Precision = "float32", device: str | None = None) -> None:
        self.folder = folder
        self.precision = precision
        self._device = device

    @functools.cached_property
    def model(self) -> SentenceTransformer:
        """The model itself, in evaluation mode.

        Raises:
            ModelError: The folder holds none that can be read, or there is no such device.
        """
        check_model(self.folder, _KEY)
        where = f" onto {self._device!r}" if self._device is not None else ""
        remedy = "check the folder and `mine.devices`, or leave both as they are by default"
        with LOADING, without_bars(), reading("sentence encoder", f"{self.folder}{where}", key=_KEY, remedy=remedy):
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(
                str(self.folder),
                device=self._device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": "float32"},
            )
        if self.precision == "bfloat16":
            _cast_once(model)
        return model.eval()

    @functools.cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        dimension = self.model.get_embedding_dimension()
        assert dimension is not None
        return dimension

    @functools.cached_property
    def token_limit(self) -> int:
        """Tokens of a text that are read, those that the model adds included."""
        return min(self.model.max_seq_length or 512, _NO_LIMIT)

    @functools.cached_property
    def weights_used(self) -> int:
        """Parameters that every token meets: all but the table of embeddings, of which a token meets one row."""
        import torch

        tables = {id(part.weight) for part in self.model.modules() if isinstance(part, torch.nn.Embedding)}
        return sum(weight.numel() for weight in self.model.parameters() if id(weight) not in tables)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has for the model, the truncated ones not counted."""
        if not texts:
            return []
        encoded = self.model.tokenizer(list(texts), truncation=True, max_length=self.token_limit)
        return [len(ids) for ids in encoded["input_ids"]]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of one batch, of length one.

        Args:
            texts: Texts of about the same length: the shorter ones are padded.

        Returns:
            Shape (texts, dimension).

        Raises:
            OutOfMemoryError: Memory does not suffice for one text alone.
        """
        import numpy as np

        if not texts:
            return self._encode(texts)
        return np.stack(in_halves(lambda part: list(self._encode(part)), texts, "texts", "mine.batch_tokens"))

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with LOADING, self._casting():
            vectors = self.model.encode(
                list(texts), batch_size=max(1, len(texts)), convert_to_tensor=True, show_progress_bar=False
            )
        return unit_vectors(vectors)

    @contextlib.contextmanager
    def _casting(self) -> Iterator[None]:
        """What the model computes in: bfloat16 where that was chosen."""
        import torch

        enabled = self.precision == "bfloat16"
        with torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=enabled):
            yield


def _cast_once(model: SentenceTransformer) -> None:
    """Cast the matrices that autocast would cast anew for every batch."""
    import torch

    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            part.to(torch.bfloat16)


def unit_vectors(vectors: Tensor) -> NDArray[np.float32]:
    """Rows in float32, each divided by its length, on the processor.

    Args:
        vectors: Shape (rows, dimension).
    """
    import torch

    normalised: NDArray[np.float32] = torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()
    return normalised


def plan_batches(counts: Sequence[int], batch_tokens: int) -> Iterator[slice]:
    """Cut a list that is sorted by length into batches; one text alone may be longer than the budget.

    Args:
        counts: Tokens of each text, rising.
        batch_tokens: Tokens that a batch may hold, padding included.
    """
    start = 0
    for place, count in enumerate(counts):
        if place > start and (place - start + 1) * count > batch_tokens:
            yield slice(start, place)
            start = place
    if start < len(counts):
        yield slice(start, len(counts))


def load_cross_encoder(spec: ModelSpec, key: str, remedy: str) -> CrossEncoder:
    """A cross-encoder in float32, in evaluation mode: safetensors, and no code of its own.

    Args:
        spec: The model.
        key: The config key that names it, for messages.
        remedy: What to do where it cannot be read.

    Raises:
        ModelError: It cannot be read.
    """
    check_model(Path(spec.path), key)
    with LOADING, without_bars(), reading("cross-encoder", spec.path, key=key, remedy=remedy):
        from sentence_transformers import CrossEncoder

        model: CrossEncoder = CrossEncoder(
            spec.path,
            revision=spec.revision,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": "float32"},
        )
    return model.eval()


def predict_pairs(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], batch_size: int, key: str, **options: Any
) -> NDArray[np.float32]:
    """What a cross-encoder gives for pairs of texts; in smaller batches where memory does not suffice.

    Args:
        model: From ``load_cross_encoder``.
        pairs: At least one.
        batch_size: Pairs at once.
        key: The config key that names the model, for messages.
        options: Handed on to ``CrossEncoder.predict``.

    Returns:
        Shape (pairs,) or (pairs, labels).

    Raises:
        OutOfMemoryError: Memory does not suffice for one pair alone.
    """
    size = min(batch_size, len(pairs))
    while True:
        with LOADING:
            predict = functools.partial(model.predict, list(pairs), batch_size=size, show_progress_bar=False)
            done = unless_out_of_memory(functools.partial(predict, **options))
        if done is not None:
            return cast("NDArray[np.float32]", done[0])
        if size == 1:
            raise too_little("for one pair of texts", f"name a smaller model as `{key}`")
        tell_halved(f"{size} pairs of texts", f"{size // 2} at once")
        size //= 2


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing its own bar while weights are loaded."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
