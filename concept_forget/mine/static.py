"""Static embeddings distilled from the encoder itself: a vector for each token, whose mean stands for a text.

Each token of the vocabulary is encoded alone; the vectors are reduced by principal components and weighted down where
the token is frequent. A text then costs a look-up for each of its tokens: a hundred times less than the encoder.

Sources: Arora, Liang & Ma 2017, "A simple but tough-to-beat baseline for sentence embeddings" (the weights a/(a+p));
Zipf 1949 for p, as vocabularies are written most frequent token first.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from concept_forget.progress import track
from concept_forget.records import content_hash
from concept_forget.sentence_encoder import Encoder, SentenceEncoder, unit_vectors
from concept_forget.workspace import cache_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

VERSION = 1
DIMENSIONS = 256
SMOOTHING = 1e-4
"""The a of a/(a+p): a token rarer than this keeps most of its weight."""
TOKENS_AT_ONCE = 1024


class StaticEncoder:
    """Gives texts their tokens and static vectors. Of several threads, one at a time may use it.

    Args:
        module: What ``distill`` gave.
    """

    def __init__(self, module: StaticEmbedding) -> None:
        self._module = module.eval()

    @property
    def vocabulary_size(self) -> int:
        """Tokens that have a vector."""
        return int(self._module.num_embeddings)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, those that the encoder adds left out; as many as the encoder would read."""
        return [found.ids for found in self._module.tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def encode(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The vectors of tokenised texts, of length one; of a text without tokens, zero.

        Args:
            tokens: From ``tokenize``.

        Returns:
            Shape (texts, dimension).
        """
        import numpy as np
        import torch

        lengths = np.array([0, *map(len, tokens)])
        ids = np.fromiter((token for text in tokens for token in text), dtype=np.int64, count=int(lengths.sum()))
        with torch.inference_mode():
            features = {"input_ids": torch.from_numpy(ids), "offsets": torch.from_numpy(lengths.cumsum()[:-1])}
            return unit_vectors(self._module(features)["sentence_embedding"])


def find_static(encoder: Encoder, cache: Path | None = None) -> StaticEncoder:
    """The static embeddings of an encoder, distilled when they are first asked for.

    Args:
        encoder: Whose they are.
        cache: Where they are kept; None: the user's cache folder.

    Raises:
        ModelError: The encoder cannot be read.
    """
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    mark = content_hash("static", VERSION, encoder.identity, DIMENSIONS, SMOOTHING)
    folder = (cache or cache_folder()) / "static" / mark
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            distill(SentenceEncoder(encoder.folder)).save(str(beside))
            if not folder.is_dir():  # another process may have been as fast
                beside.replace(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    # What was kept is what is used, so that the first run gives the same bytes as every other.
    return StaticEncoder(StaticEmbedding.load(str(folder), local_files_only=True))


def distill(source: SentenceEncoder) -> StaticEmbedding:
    """A vector for each token of an encoder's vocabulary; those that the encoder only adds itself get none.

    Args:
        source: The encoder, in float32.

    Returns:
        ``num_embeddings`` rows, one for each token id, of ``DIMENSIONS`` columns or the encoder's fewer.

    Raises:
        ModelError: The encoder cannot be read.
    """
    import numpy as np
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = source.model.tokenizer
    special = set(tokenizer.all_special_ids)
    size = max(tokenizer.get_vocab().values()) + 1
    tokens = [token for token in range(size) if token not in special]
    reduced = reduce_dimensions(_encode_tokens(source, tokens), DIMENSIONS)
    weights = np.zeros((size, reduced.shape[1]), dtype=np.float32)
    weights[tokens] = reduced * frequency_weights(len(tokens))[:, None]
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    _truncate(backend, source)
    return StaticEmbedding(backend, embedding_weights=weights)


def reduce_dimensions(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Vectors less their mean, on their first principal components.

    Args:
        vectors: Shape (rows, dimension).
        dimensions: Components to keep, where there are as many.

    Returns:
        Shape (rows, min(dimension, dimensions)); each component's sign makes its largest loading positive.
    """
    import numpy as np

    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)  # variances rise
    kept = axes[:, ::-1][:, :dimensions]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    reduced: NDArray[np.float32] = (centred @ kept).astype(np.float32)
    return reduced


def frequency_weights(count: int) -> NDArray[np.float32]:
    """a/(a+p) for tokens of which the r-th has the frequency p = (1/r)/Σ(1/r), shape (count,)."""
    import numpy as np

    shares = 1 / np.arange(1, count + 1)
    shares /= shares.sum()
    weights: NDArray[np.float32] = (SMOOTHING / (SMOOTHING + shares)).astype(np.float32)
    return weights


def _encode_tokens(source: SentenceEncoder, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Each token's vector as the encoder gives it, with the tokens around it that it puts around any text."""
    import numpy as np
    import torch

    model = source.model
    before, after = _frame(source)
    parts = []
    with torch.inference_mode(), track("distil static embeddings", total=len(tokens), unit="tokens") as bar:
        for start in range(0, len(tokens), TOKENS_AT_ONCE):
            rows = [[*before, token, *after] for token in tokens[start : start + TOKENS_AT_ONCE]]
            ids = torch.tensor(rows, device=model.device)
            features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            parts.append(unit_vectors(model(features)["sentence_embedding"]))
            bar.advance(len(rows))
    return np.concatenate(parts)


def _frame(source: SentenceEncoder) -> tuple[list[int], list[int]]:
    """The tokens that the encoder puts before and behind a text."""
    tokenizer = source.model.tokenizer
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def _truncate(backend: Tokenizer, source: SentenceEncoder) -> None:
    before, after = _frame(source)
    backend.no_padding()
    backend.enable_truncation(max_length=source.token_limit - len(before) - len(after))
